"""Training while the MLflow store fails: nothing is lost, and the run is completed later."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.helpers import server
from tests.helpers.project import Project

pytestmark = pytest.mark.slow

RUNS = """
import json, mlflow
client = mlflow.MlflowClient()
print(json.dumps([
    [run.info.status, "test_accuracy" in run.data.metrics,
     [m.step for m in client.get_metric_history(run.info.run_id, "val_loss")]]
    for run in mlflow.search_runs(search_all_experiments=True, output_format="list")
]))
"""
COMPLETE = [["FINISHED", True, [1, 2, 3]]]


@pytest.fixture
def project(sample: Project, tmp_path: Path) -> Project:
    """`sample` without its MLflow store, in a folder with spaces and non-ASCII characters."""
    project = sample.duplicate(tmp_path / "Größe 9 ×")
    (project.folder / "mlflow.db").unlink()
    shutil.rmtree(project.folder / "mlruns")
    return project


def runs(project: Project) -> list[list[object]]:
    return json.loads(project.python(RUNS))


def test_training_survives_the_loss_of_the_tracking_server(
    sample: Project, project: Project, tmp_path: Path
) -> None:
    port = server.free_port()
    remote = Project(project.folder, server.variables(port))
    with server.mlflow(tmp_path / "server", port) as process:
        with remote.start("python", "-m", "pipeline.train") as training:
            assert training.stdout is not None
            for line in training.stdout:
                if "epoch 1/" in line:
                    server.end(process)
                    break
            output = training.stdout.read()
        assert training.returncode == 0, output
    assert "warning: tracking is incomplete" in output
    assert "make track" in output
    assert "Traceback" not in output
    evaluated = remote.run("dvc", "repro", "--force", "--single-item", "evaluate")
    assert "tracking is incomplete" in evaluated
    assert remote.read("dvc.lock") == sample.read("dvc.lock")
    assert "error: MLflow store" in remote.run("python", "-m", "pipeline.track", status=1)
    with server.mlflow(tmp_path / "server", port):
        for _ in range(2):
            remote.run("python", "-m", "pipeline.track")
            assert runs(remote) == COMPLETE


@pytest.mark.long
def test_training_survives_a_locked_database(sample: Project, project: Project) -> None:
    project.run("python", "-c", "from pipeline.tracking.store import connect; connect('mnist')")
    with sqlite3.connect(project.folder / "mlflow.db", isolation_level=None) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        output = project.run("python", "-m", "pipeline.train")
        holder.execute("ROLLBACK")
    assert "warning: tracking is incomplete" in output
    assert "database is locked" in output
    assert "Traceback" not in output
    project.run("dvc", "repro", "--force")
    assert project.read("dvc.lock") == sample.read("dvc.lock")
    assert runs(project) == COMPLETE


@pytest.mark.long
def test_corrupt_database_is_one_line_and_nothing_is_lost(project: Project) -> None:
    (project.folder / "mlflow.db").write_bytes(b"garbage" * 1000)
    output = project.run("python", "-m", "pipeline.train", status=1)
    assert output.splitlines()[-1].startswith("error: MLflow store")
    assert "Traceback" not in output
    (project.folder / "mlflow.db").unlink()
    project.run("dvc", "repro", "--force")
    assert runs(project) == COMPLETE
