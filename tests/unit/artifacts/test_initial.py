from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
import yaml

from pipeline.artifacts.initial import digest_now, initial_digest, initial_model
from pipeline.config.composition import compose
from pipeline.config.schema import Config
from pipeline.config.yaml_files import dump_config
from pipeline.system.errors import UserError
from pipeline.system.files import sha256
from pipeline.tracking.store import connect
from pipeline.tracking.tags import MODEL_DIGEST


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def record(folder: Path) -> Callable[..., None]:
    """Write the dvc.lock of a training that started from a model with a digest."""

    def write(cfg: Config, digest: str) -> None:
        composed = yaml.safe_load(dump_config(cfg))
        params = {key: composed[key] for key in ("model", "train")} | {"initial_model": digest}
        params["versions.train"] = composed["versions"]["train"]
        stage = {"cmd": "python -m pipeline.train", "params": {"composed.yaml": params}}
        (folder / "dvc.lock").write_text(yaml.safe_dump({"stages": {"train": stage}}))

    return write


def test_training_without_an_initial_model_has_no_digest() -> None:
    with initial_model(None, "") as path:
        assert path is None
    assert digest_now(None) == initial_digest(compose([])) == ""


def test_digest_follows_the_content_of_a_file(folder: Path, record: Callable[..., None]) -> None:
    cfg, path = compose(["train.init_from=a.keras"]), folder / "a.keras"
    record(cfg, "before")
    path.write_bytes(b"one")
    first = initial_digest(cfg)
    assert first == sha256(path)
    path.write_bytes(b"two")
    assert initial_digest(cfg) not in ("before", first)


def test_clone_without_the_file_has_the_digest_of_dvc_lock(record: Callable[..., None]) -> None:
    record(compose(["train.init_from=a.keras"]), "abc")
    assert initial_digest(compose(["train.init_from=a.keras"])) == "abc"
    with pytest.raises(UserError, match=r"train\.init_from: there is no model file a\.keras"):
        initial_digest(compose(["train.init_from=a.keras", "train.epochs=5"]))


@pytest.mark.parametrize("uri", ["models/model.keras", "git:HEAD", "models:/digits@champion"])
def test_address_that_may_lead_to_the_result_stays_the_model_of_the_training(
    folder: Path, record: Callable[..., None], uri: str
) -> None:
    """Otherwise each `dvc repro` would train again, from the result of the one before."""
    record(compose([f"train.init_from='{uri}'"]), "abc")
    (folder / "models").mkdir()
    (folder / "models/model.keras").write_bytes(b"result")
    assert initial_digest(compose([f"train.init_from='{uri}'"])) == "abc"


def test_training_with_other_settings_starts_from_the_model_of_now(
    folder: Path, record: Callable[..., None]
) -> None:
    path = folder / "models/model.keras"
    path.parent.mkdir()
    path.write_bytes(b"result")
    record(compose(["train.init_from=models/model.keras"]), "abc")
    more = compose(["train.init_from=models/model.keras", "train.epochs=5"])
    assert initial_digest(more) == sha256(path)
    lock = (folder / "dvc.lock").read_text()
    (folder / "dvc.lock").write_text(lock.replace("versions.train:", "train.key_of_before:"))
    assert initial_digest(compose(["train.init_from=models/model.keras"])) == sha256(path)


def test_model_is_found_in_its_run_when_the_address_leads_to_another_one(
    folder: Path, tracked: Path
) -> None:
    connect("digits")
    model = folder / "data/model.keras"
    model.parent.mkdir()
    model.write_bytes(b"wanted")
    with mlflow.start_run() as run:
        mlflow.log_artifact(str(model), "model/data")
        mlflow.set_tag(MODEL_DIGEST, sha256(model))
    (folder / "a.keras").write_bytes(b"another")
    with initial_model("a.keras", sha256(model)) as path:
        assert path is not None
        assert path.read_bytes() == b"wanted"
    mlflow.delete_run(run.info.run_id)
    with (
        pytest.raises(UserError, match=r"^train\.init_from: a\.keras is another model by now"),
        initial_model("a.keras", sha256(model)),
    ):
        pass
