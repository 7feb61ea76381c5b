from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from pipeline.config.composition import compose
from pipeline.config.yaml_files import save_config
from pipeline.system.errors import UserError
from pipeline.tracking.lookup import find_run, run_names, runs_named, runs_of_file
from pipeline.tracking.tags import MODEL_DIGEST


def log_run(name: str, digest: str = "") -> tuple[str, str]:
    """The ids of a run and of its logged model."""
    client = MlflowClient()
    run_id = client.create_run("1", run_name=name, tags={MODEL_DIGEST: digest}).info.run_id
    model = client.create_logged_model("1", name="model", source_run_id=run_id)
    client.finalize_logged_model(model.model_id, "READY")
    return run_id, model.model_id


@pytest.fixture
def run_id(tracked: Path) -> str:
    """A run whose model is registered twice; the second version has the alias `best`."""
    run_id, model_id = log_run("sunny's fox-42", "d16e57")
    for _ in range(2):
        mlflow.register_model(f"models:/{model_id}", "reader")
    MlflowClient().set_registered_model_alias("reader", "best", "2")
    log_run("other")
    return run_id


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "sunny's fox-42",
        "best",
        "runs:/{run}",
        "runs:/{run}/model",
        "models:/reader@best",
        "models:/reader/1",
        "models:/{model}",
    ],
)
def test_run_has_many_names(run_id: str, name: str) -> None:
    version = MlflowClient().get_model_version("reader", "1")
    model_id = str(version.source).removeprefix("models:/")
    [run] = runs_named(name.format(run=run_id, model=model_id))
    assert run.info.run_id == run_id


@pytest.fixture
def champions(tracked: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The run of the champion of each of two data sets, in an empty workspace."""
    (tracked / "workspace").mkdir()
    monkeypatch.chdir(tracked / "workspace")
    runs = {}
    for data in ("mnist", "mnist_sample"):
        runs[data], model_id = log_run(data)
        name = f"{data.replace('_', '-')}-classifier"
        mlflow.register_model(f"models:/{model_id}", name)
        MlflowClient().set_registered_model_alias(name, "champion", "1")
    return runs


@pytest.mark.parametrize("data", ["mnist", "mnist_sample"])
def test_alias_of_several_models_means_that_of_the_workspace(
    champions: dict[str, str], data: str
) -> None:
    save_config(compose([f"data={data}"]), Path("composed.yaml"))
    [run] = runs_named("champion")
    assert run.info.run_id == champions[data]


@pytest.mark.usefixtures("champions")
@pytest.mark.parametrize("data", ["fashion_mnist", ""])
def test_alias_of_several_other_models_lists_their_uris(data: str) -> None:
    if data:
        save_config(compose([f"data={data}"]), Path("composed.yaml"))
    uris = "models:/mnist-classifier@champion, models:/mnist-sample-classifier@champion"
    with pytest.raises(UserError, match=f"several models have the alias 'champion'.*{uris}"):
        runs_named("champion")


@pytest.mark.slow
@pytest.mark.usefixtures("run_id")
@pytest.mark.parametrize(
    "name",
    [
        *(
            "nowhere",
            "it's",
            "%",
            "x" * 500,
            "",
            "runs:/",
            "runs:/nowhere",
            "models:/",
            "models:/a",
        ),
        *("models:/reader@nowhere", "models:/reader/3", "models:/reader/x", "models:/nowhere@best"),
        *("models:/m-00000000000000000000000000000000", "models:/a/b/c", "models:/@"),
    ],
)
def test_unknown_run_is_none(name: str) -> None:
    assert runs_named(name) == []


def test_run_of_a_file_is_found_by_its_digest(run_id: str) -> None:
    [run] = runs_of_file("d16e57")
    assert run.info.run_id == run_id
    assert runs_of_file("0ther") == []


def test_newest_run_of_a_model_file_is_found(tracked: Path) -> None:
    assert find_run("digits", "a") is None
    client = MlflowClient()
    runs = [
        client.create_run("1", start, tags={MODEL_DIGEST: digest}).info.run_id
        for start, digest in ((1000, "a"), (3000, "a"), (2000, "a"), (4000, "b"))
    ]
    found = find_run("digits", "a")
    assert found is not None
    assert found.info.run_id == runs[1]
    assert find_run("another experiment", "a") is None


def test_looking_creates_no_store(repository: Path) -> None:
    assert runs_named("nowhere") == []
    assert runs_of_file("d16e57") == []
    assert run_names() == []
    assert list(repository.iterdir()) == []
