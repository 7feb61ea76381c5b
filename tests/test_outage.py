"""Training where the MLflow store fails: nothing is lost, and the run is completed later."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from project import Project

pytestmark = pytest.mark.slow

PARAMS = "data: mnist_sample\nexperiment: debug\ntrain.epochs: 3\n"
RUNS = """
import json, mlflow
client = mlflow.MlflowClient()
print(json.dumps([
    [run.info.status, "test_accuracy" in run.data.metrics,
     [m.step for m in client.get_metric_history(run.info.run_id, "val_loss")]]
    for run in mlflow.search_runs(search_all_experiments=True, output_format="list")
]))
"""
WHOLE = [["FINISHED", True, [1, 2, 3]]]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project.copy(tmp_path_factory.mktemp("reference"), PARAMS)
    project.repro()
    return project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project that has its data, in a folder with a hard name."""
    project = Project.copy(tmp_path / "Größe 9 ×", PARAMS)
    project.run("dvc", "repro", "prepare")
    return project


def runs(project: Project) -> list[list[object]]:
    return json.loads(project.python(RUNS))


@contextmanager
def server(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """An MLflow server of this machine, until the block ends or it is killed."""
    folder.mkdir(exist_ok=True)
    store = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    artifacts = ["--serve-artifacts", "--artifacts-destination", str(folder / "artifacts")]
    process = subprocess.Popen(
        ["mlflow", "server", "--port", str(port), "--workers", "1", *store, *artifacts],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, "mlflow server ended"
                assert time.monotonic() < deadline, "mlflow server does not answer"
                time.sleep(0.2)
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def test_training_outlives_the_tracking_server(
    reference: Project, project: Project, tmp_path: Path
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
    away = Project(project.folder, {**variables, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"})
    with server(tmp_path / "server", port) as process:
        with away.start("python", "-m", "pipeline.train") as training:
            assert training.stdout is not None
            for line in training.stdout:
                if "epoch 1/" in line:
                    _end(process)
                    break
            output = training.stdout.read()
        assert training.returncode == 0, output
    assert "warning: tracking is behind" in output
    assert "make track" in output
    assert "Traceback" not in output
    assert "tracking is behind" in away.run("dvc", "repro")
    assert away.read("dvc.lock") == reference.read("dvc.lock")
    assert "error: MLflow store" in away.run("python", "-m", "pipeline.track", status=1)
    with server(tmp_path / "server", port):
        for _ in range(2):
            away.run("python", "-m", "pipeline.track")
            assert runs(away) == WHOLE


def test_training_outlives_a_locked_database(reference: Project, project: Project) -> None:
    project.run("python", "-c", "from pipeline import tracking; tracking.connect('mnist')")
    with sqlite3.connect(project.folder / "mlflow.db", isolation_level=None) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        output = project.run("python", "-m", "pipeline.train")
        holder.execute("ROLLBACK")
    assert "warning: tracking is behind" in output
    assert "database is locked" in output
    assert "Traceback" not in output
    project.run("dvc", "repro")
    assert project.read("dvc.lock") == reference.read("dvc.lock")
    assert runs(project) == WHOLE


def test_corrupt_database_is_one_clear_error_and_nothing_is_lost(project: Project) -> None:
    (project.folder / "mlflow.db").write_bytes(b"garbage" * 1000)
    output = project.run("python", "-m", "pipeline.train", status=1)
    assert output.splitlines()[-1].startswith("error: MLflow store")
    assert "Traceback" not in output
    (project.folder / "mlflow.db").unlink()
    project.run("dvc", "repro")
    assert runs(project) == WHOLE
