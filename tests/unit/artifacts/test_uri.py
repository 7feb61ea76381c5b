import pickle
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import mlflow
import mlflow.pyfunc
import pytest
import yaml

from pipeline.artifacts.uri import initial_model, resolve_model
from pipeline.system.errors import UserError
from tests.helpers.pickles import Payload


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An MLflow store with one experiment."""
    folder = tmp_path_factory.mktemp("store")
    before = mlflow.get_tracking_uri()
    uri = f"sqlite:///{folder}/mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        mlflow.set_tracking_uri(uri)
        mlflow.create_experiment("digits", (folder / "artifacts").as_uri())
        mlflow.set_experiment("digits")
        yield
    mlflow.set_tracking_uri(before)


def test_path_leads_to_itself(tmp_path: Path) -> None:
    with resolve_model(str(tmp_path / "a.keras")) as path:
        assert path == tmp_path / "a.keras"


def test_initial_model_must_exist(tmp_path: Path) -> None:
    with initial_model(None) as path:
        assert path is None
    with pytest.raises(UserError, match=r"train\.init_from: there is no model file .*a\.keras"):
        initial_model(str(tmp_path / "a.keras")).__enter__()


def test_unknown_revision_is_named() -> None:
    with pytest.raises(UserError, match=r"no models/model\.keras at revision 'no-such'"):
        resolve_model("git:no-such").__enter__()


@pytest.mark.parametrize(
    "uri",
    [
        "models:/nobody@champion",
        "models:/nobody/1",
        "models:/m-0",
        "models:/a/../b",
        "models:/",
        "runs:/0/model",
        "runs:/../../etc/passwd",
        "runs:/",
    ],
)
def test_unknown_model_is_named(uri: str, store: None) -> None:
    with pytest.raises(UserError, match=rf"^{uri} is not a Keras model in sqlite.*$"):
        resolve_model(uri).__enter__()


def test_every_mlflow_uri_leads_to_the_file(store: None, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/model.keras").write_bytes(b"weights")
    client = mlflow.MlflowClient()
    with mlflow.start_run() as run:
        mlflow.log_artifacts(str(tmp_path), "model")
    model_id = mlflow.initialize_logged_model("model").model_id
    client.log_model_artifacts(model_id, str(tmp_path))
    client.create_registered_model("reader")
    client.create_model_version("reader", f"{run.info.artifact_uri}/model")
    client.set_registered_model_alias("reader", "champion", "1")
    for uri in (
        f"runs:/{run.info.run_id}/model",
        f"runs:/{run.info.run_id}/model/",
        f"models:/{model_id}",
        "models:/reader/1",
        "models:/reader@champion",
    ):
        with resolve_model(uri) as path:
            assert path.read_bytes() == b"weights"
        assert not path.exists()


PICKLED = {
    "pyfunc": {
        "python_function": {
            "loader_module": "mlflow.pyfunc.model",
            "python_model": "model.pkl",
            "cloudpickle_version": "3.0.0",
        }
    },
    "sklearn": {
        "python_function": {"loader_module": "mlflow.sklearn", "model_path": "model.pkl"},
        "sklearn": {
            "pickled_model": "model.pkl",
            "serialization_format": "cloudpickle",
            "sklearn_version": "1.0",
        },
    },
}


@pytest.mark.parametrize("flavor", PICKLED)
def test_pickled_model_is_refused_and_not_unpickled(
    store: None, tmp_path: Path, flavor: str
) -> None:
    executed, folder = tmp_path / "executed", tmp_path / "model"
    folder.mkdir()
    (folder / "model.pkl").write_bytes(pickle.dumps(Payload(executed)))
    (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": PICKLED[flavor]}))
    with mlflow.start_run() as run:
        mlflow.log_artifacts(str(folder), "model")
    uri = f"runs:/{run.info.run_id}/model"
    with pytest.raises(UserError, match=f"{uri} is not a Keras model in sqlite"):
        resolve_model(uri).__enter__()
    assert not executed.exists()
    with suppress(AttributeError):  # the unpickled object is not a model
        mlflow.pyfunc.load_model(uri)
    assert executed.exists(), "the pickle is harmless, so this test proves nothing"
