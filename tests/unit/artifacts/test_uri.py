import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import mlflow
import mlflow.pyfunc
import pytest
import yaml

from pipeline.artifacts.initial import initial_model
from pipeline.artifacts.uri import resolve_model
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
    (tmp_path / "a.keras").touch()
    with resolve_model(str(tmp_path / "a.keras")) as path:
        assert path == tmp_path / "a.keras"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("", "the model URI is empty: name a .keras file, runs:/"),
        (".", ". is a folder, not a model file"),
        ("no.keras", "there is no model file no.keras"),
        ("models/model.keras", "there is no model file models/model.keras: run `make repro` first"),
        ("git:", "git: names no revision, such as git:HEAD~1"),
        ("git:no-such", "there is no git revision 'no-such'"),
        ("git:-v", "there is no git revision '-v'"),
        ("runs:/0", "runs:/0 names a run; its model is runs:/0/model"),
    ],
)
def test_uri_that_names_no_model_says_why(
    uri: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        resolve_model(uri).__enter__()
    assert str(error.value).startswith(message)
    with pytest.raises(UserError) as error:
        initial_model(uri, "").__enter__()
    assert str(error.value).startswith(f"train.init_from: {message}")


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of git and DVC, whose dvc.lock names a model that the cache does not have."""
    stage = {"cmd": "true", "outs": ["models/model.keras"]}
    out = {"path": "models/model.keras", "hash": "md5", "md5": "a" * 32, "size": 3}
    lock = {"schema": "2.0", "stages": {"train": {"cmd": "true", "outs": [out]}}}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"train": stage}}))
    git(tmp_path, "init", "--quiet")
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet"], cwd=tmp_path, check=True)
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "no lock yet")
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump(lock))
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "a lock")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("models/model.keras", "the model of dvc.lock is not in DVC's cache: `make repro` trains"),
        ("git:HEAD", "the model of revision 'HEAD' is not in DVC's cache: `dvc fetch --all-comm"),
        ("git:HEAD~1", "no models/model.keras at revision 'HEAD~1': "),
        ("git:HEAD~2", "there is no git revision 'HEAD~2'"),
    ],
)
def test_model_that_dvc_does_not_have_is_one_line(clone: Path, uri: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        resolve_model(uri).__enter__()
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_revision_without_git_is_one_line(clone: Path) -> None:
    shutil.rmtree(clone / ".git")
    with pytest.raises(UserError, match=r"^git:HEAD needs git, but .* is not a git repository$"):
        resolve_model("git:HEAD").__enter__()
    with pytest.raises(UserError, match=r"^the model of dvc\.lock is not in DVC's cache"):
        resolve_model("models/model.keras").__enter__()


@pytest.mark.slow
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
    with mlflow.start_run(experiment_id="0") as run:
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
    with mlflow.start_run(experiment_id="0") as run:
        mlflow.log_artifacts(str(folder), "model")
    uri = f"runs:/{run.info.run_id}/model"
    with pytest.raises(UserError, match=f"{uri} is not a Keras model in sqlite"):
        resolve_model(uri).__enter__()
    assert not executed.exists()
    with suppress(AttributeError):  # the unpickled object is not a model
        mlflow.pyfunc.load_model(uri)
    assert executed.exists(), "the pickle is harmless, so this test proves nothing"
