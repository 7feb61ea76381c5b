from pathlib import Path

import pytest

from pipeline.address import initial, model_file
from pipeline.command import UserError


def test_path_is_its_own_file(tmp_path: Path) -> None:
    with model_file(str(tmp_path / "a.keras")) as path:
        assert path == tmp_path / "a.keras"


def test_model_to_train_on_from_must_be_there(tmp_path: Path) -> None:
    with initial(None) as path:
        assert path is None
    with pytest.raises(UserError, match=r"train\.init_from: there is no model file .*a\.keras"):
        initial(str(tmp_path / "a.keras")).__enter__()


def test_unknown_revision_is_named() -> None:
    with pytest.raises(UserError, match=r"no models/model\.keras at revision 'no-such'"):
        model_file("git:no-such").__enter__()


@pytest.mark.parametrize(
    "address", ["models:/nobody@champion", "models:/nobody/1", "runs:/0/model"]
)
def test_unknown_model_is_named(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(UserError, match=f"{address} is no Keras model in sqlite"):
        model_file(address).__enter__()
