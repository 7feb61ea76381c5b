"""In real stores; each run and model has a file, as those of a training have."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, ViewType

from pipeline.garbage.collection import remove_garbage
from pipeline.garbage.items import Item
from pipeline.garbage.store import ARTIFACTS, EXPERIMENTS, MODELS, RUNS, kept_runs, store_garbage
from pipeline.system import process
from tests.helpers.git import Repository

Find = Callable[[], list[Item]]


@pytest.fixture
def find(tracked: Path) -> Find:
    """Find the garbage in the store of a repository."""
    return lambda: store_garbage(tracked)[0]


def make_run(status: str = "FINISHED", tags: dict[str, str] | None = None) -> str:
    client = MlflowClient()
    experiment = mlflow.get_experiment_by_name("digits")
    assert experiment
    run = client.create_run(experiment.experiment_id, tags=tags).info.run_id
    client.log_text(run, "x" * 100, "a.txt")
    client.log_metric(run, "val_loss", 0.5, step=1)
    if status != "RUNNING":
        client.set_terminated(run, status)
    return str(run)


def make_model(
    folder: Path, run: str | None, status: Literal["READY", "FAILED"] | None = "READY"
) -> LoggedModel:
    client = MlflowClient()
    experiment = mlflow.get_experiment_by_name("digits")
    assert experiment
    model = client.create_logged_model(experiment.experiment_id, name="model", source_run_id=run)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    (folder / "data/model.keras").write_text("y" * 200)
    client.log_model_artifacts(model.model_id, str(folder))
    if run:
        mlflow.log_metric("validation_loss", 0.5, run_id=run, model_id=model.model_id)
    if status:
        client.finalize_logged_model(model.model_id, status)
    return model


def listed(items: list[Item]) -> set[tuple[str, str, int]]:
    return {(item.kind, item.name.split()[0], item.size) for item in items}


def remove(items: list[Item], root: Path) -> None:
    assert remove_garbage(items, root) == 0


def all_runs() -> set[str]:
    found = mlflow.search_runs(
        search_all_experiments=True, run_view_type=ViewType.ALL, output_format="list"
    )
    return {run.info.run_id for run in found}


@pytest.mark.slow
def test_deleted_run_goes_with_its_model_and_files(
    tracked: Path, tmp_path: Path, find: Find
) -> None:
    kept, deleted = make_run(), make_run()
    kept_model, model = (make_model(tmp_path / "m", run) for run in (kept, deleted))
    assert find() == []
    MlflowClient().delete_run(deleted)
    assert listed(find()) == {(RUNS, deleted, 100), (MODELS, model.model_id, 200)}
    remove(find(), tracked)
    assert find() == []
    assert all_runs() == {kept}
    found = {path.name for path in (tracked / "mlruns").rglob("*") if path.is_file()}
    assert found == {"a.txt", "model.keras"}
    assert (tracked / "mlruns" / kept).is_dir()
    assert MlflowClient().get_logged_model(kept_model.model_id).model_id
    assert MlflowClient().get_run(kept).data.metrics == {"val_loss": 0.5, "validation_loss": 0.5}


@pytest.mark.slow
def test_registered_model_keeps_its_deleted_run(tracked: Path, tmp_path: Path, find: Find) -> None:
    run, other = make_run(), make_run()
    model = make_model(tmp_path / "m", run)
    mlflow.register_model(f"models:/{model.model_id}", "digits-classifier")
    MlflowClient().set_registered_model_alias("digits-classifier", "champion", "1")
    for deleted in (run, other):
        MlflowClient().delete_run(deleted)
    items, rows = store_garbage(tracked)
    assert listed(items) == {(RUNS, other, 100)}
    [line] = kept_runs(rows)
    assert line == f"run {run} is deleted, but a registered model, a commit or a sweep uses it"
    remove(items, tracked)
    path = mlflow.artifacts.download_artifacts("models:/digits-classifier@champion")
    assert (Path(path) / "data/model.keras").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("where", ["params.yaml", "dvc.lock of a branch", "journal of a sweep"])
def test_initial_model_stays(tracked: Path, tmp_path: Path, find: Find, where: str) -> None:
    run = make_run()
    model = make_model(tmp_path / "m", run)
    text = f"set: {{train: {{init_from: 'runs:/{run}/model'}}}}\n"
    if where == "params.yaml":
        (tracked / "params.yaml").write_text(text)
    elif where == "journal of a sweep":
        (tracked / ".sweeps/depth").mkdir(parents=True)
        (tracked / ".sweeps/depth/journal").write_text(
            f'"train.init_from=models:/{model.model_id}"'
        )
    else:
        (tracked / ".gitignore").write_text("*\n!dvc.lock\n!params.yaml\n")
        repository = Repository(tracked)
        repository.git("switch", "--quiet", "--create", "other")
        repository.write("dvc.lock", text)
        repository.git("add", "dvc.lock")
        repository.git("commit", "--quiet", "--message", "test")
        repository.git("switch", "--quiet", "main")
    MlflowClient().delete_run(run)
    kept = {item.kind for item in find()}
    assert RUNS not in kept
    # A run in a URI keeps its models, too, because they are read by the run.
    assert MODELS not in kept


@pytest.mark.slow
def test_deleted_and_unfinished_models_go_and_those_without_a_run_stay(
    tracked: Path, tmp_path: Path, find: Find
) -> None:
    ended, killed = make_run(), make_run("KILLED")
    alive = make_run("RUNNING", process.identity())
    dead = make_run("RUNNING", {**process.identity(), "process.id": "1", "process.started": "0"})
    elsewhere = make_run("RUNNING", {**process.identity(), "process.host": "elsewhere"})
    make_model(tmp_path / "m", ended)
    make_model(tmp_path / "m", alive, status=None)
    make_model(tmp_path / "m", elsewhere, status=None)
    make_model(tmp_path / "m", None)
    make_model(tmp_path / "m", None, status=None)
    garbage = [
        make_model(tmp_path / "m", None),
        make_model(tmp_path / "m", killed, status=None),
        make_model(tmp_path / "m", dead, status=None),
        make_model(tmp_path / "m", ended, status="FAILED"),
        make_model(tmp_path / "m", ended),
    ]
    for model in (garbage[0], garbage[-1]):
        MlflowClient().delete_logged_model(model.model_id)
    assert listed(find()) == {(MODELS, model.model_id, 200) for model in garbage}
    remove(find(), tracked)
    assert find() == []
    assert len(list((tracked / "mlruns/models").iterdir())) == 5


def test_deleted_run_of_a_live_process_stays(tracked: Path, find: Find) -> None:
    run = make_run("RUNNING", process.identity())
    MlflowClient().delete_run(run)
    items, rows = store_garbage(tracked)
    assert items == []
    assert kept_runs(rows) == [f"run {run} is deleted, but its process may be running"]


@pytest.mark.slow
def test_restored_run_stays(tracked: Path, find: Find) -> None:
    restored, deleted = make_run(), make_run()
    for run in (restored, deleted):
        MlflowClient().delete_run(run)
    items = find()
    assert len(items) == 2
    MlflowClient().restore_run(restored)
    remove(items, tracked)
    assert all_runs() == {restored}
    assert find() == []


def test_folders_without_a_row_go(tracked: Path, find: Find) -> None:
    run = make_run()
    orphan, empty, model = "1" * 32, "2" * 32, f"m-{'3' * 32}"
    others = ["notes", "0", "models"]
    for name in (f"{orphan}/artifacts", empty, f"models/{model}/artifacts", *others):
        (tracked / "mlruns" / name).mkdir(parents=True, exist_ok=True)
    (tracked / "mlruns" / orphan / "artifacts/a.txt").write_text("x" * 7)
    names = {f"mlruns/{orphan}": 7, f"mlruns/{empty}": 0, f"mlruns/models/{model}": 0}
    assert listed(find()) == {(ARTIFACTS, name, size) for name, size in names.items()}
    remove(find(), tracked)
    assert {path.name for path in (tracked / "mlruns").iterdir()} == {run, *others}


def test_copied_project_removes_nothing_of_the_original(
    tracked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of a copy name the folders of the original."""
    run = make_run()
    MlflowClient().delete_run(run)
    copy = tracked / "copy"
    (copy / "mlruns").mkdir(parents=True)
    (copy / "mlflow.db").write_bytes((tracked / "mlflow.db").read_bytes())
    items, rows = store_garbage(copy)
    assert items == []
    assert kept_runs(rows) == [
        f"run {run} is deleted, but its artifacts are not in mlruns/ of this folder"
    ]
    assert [item.kind for item in store_garbage(tracked)[0]] == [RUNS]


@pytest.mark.slow
def test_deleted_experiment_goes_if_nothing_of_it_stays(tracked: Path, find: Find) -> None:
    client = MlflowClient()
    run = make_run()
    experiment = client.get_run(run).info.experiment_id
    client.delete_experiment(experiment)
    assert {item.kind for item in find()} == {RUNS, EXPERIMENTS}
    client.restore_run(run)
    assert find() == []
    client.delete_run(run)
    remove(find(), tracked)
    assert client.search_experiments(ViewType.DELETED_ONLY) == []
    assert client.get_experiment_by_name("Default")


KILLED_AT_THE_FIRST_FILE = """
import os, shutil, signal
from pathlib import Path
def rmtree(path):
    next(path for path in Path(path).rglob("*") if path.is_file()).unlink()
    os.kill(os.getpid(), signal.SIGKILL)
shutil.rmtree = rmtree
"""


@pytest.mark.slow
def test_removal_that_was_killed_is_finished_by_the_next(
    tracked: Path, tmp_path: Path, find: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, run = make_run(), make_run()
    MlflowClient().log_text(run, "x", "b.txt")
    MlflowClient().delete_run(run)
    (tmp_path / "code").mkdir()
    (tmp_path / "code/sitecustomize.py").write_text(KILLED_AT_THE_FIRST_FILE)
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path / "code"))
        assert remove_garbage(find(), tracked) == 1
    assert len(list((tracked / "mlruns").rglob("*.txt"))) < 3
    assert {kept, run} <= all_runs()
    remove(find(), tracked)
    assert find() == []
    assert all_runs() == {kept}
    assert [path.name for path in (tracked / "mlruns").iterdir() if path.name != "models"] == [kept]


def test_model_that_was_registered_after_the_list_stays(
    tracked: Path, tmp_path: Path, find: Find
) -> None:
    """The list may be old, because a person has read it."""
    run = make_run()
    model = make_model(tmp_path / "m", run)
    MlflowClient().delete_run(run)
    items = find()
    assert MODELS in {item.kind for item in items}
    mlflow.register_model(f"models:/{model.model_id}", "digits-classifier")
    remove(items, tracked)
    assert MlflowClient().get_logged_model(model.model_id)
