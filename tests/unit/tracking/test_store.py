import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier

import numpy as np
import psutil
import pytest
import requests

from pipeline.system import process
from pipeline.system.errors import UserError
from pipeline.tracking.inputs import log_input
from pipeline.tracking.run import close_dead_runs
from pipeline.tracking.store import connect, set_tags

pytestmark = pytest.mark.slow


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The root of a repository that has no MLflow store yet."""
    import mlflow

    before = mlflow.get_tracking_uri()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    yield tmp_path
    mlflow.set_tracking_uri(before)


def test_store_is_made_where_mlflow_ui_looks_for_it(store: Path) -> None:
    import mlflow

    connect("digits")
    assert (store / "mlflow.db").is_file()
    experiment = mlflow.get_experiment_by_name("digits")
    assert experiment is not None
    assert experiment.artifact_location == (store / "mlruns").as_uri()


def test_several_processes_may_make_the_store_at_once(store: Path) -> None:
    code = "from pipeline import tracking; tracking.connect('digits')"
    processes = [
        subprocess.Popen([sys.executable, "-c", code], env={**os.environ}) for _ in range(3)
    ]
    assert [process.wait(120) for process in processes] == [0, 0, 0]


def test_what_several_log_at_once_for_the_first_time_is_there(store: Path) -> None:
    import mlflow
    from mlflow.data import from_numpy  # type: ignore[attr-defined]

    connect("digits")
    client = mlflow.MlflowClient()
    runs = [client.create_run("1").info.run_id for _ in range(4)]
    start = Barrier(len(runs))

    def log(run: str, turn: int) -> None:
        images = from_numpy(np.zeros((2, 2)), name="images", digest=f"{turn}")
        start.wait(60)
        log_input(run, images, "training")
        start.wait(60)
        set_tags(runs[0], {f"tag.{turn}": run})

    turns = range(20)  # without what is tested here some of them fail
    with ThreadPoolExecutor(len(runs)) as pool:
        for turn in turns:
            list(pool.map(log, runs, [turn] * len(runs)))
    for run in runs:
        inputs = client.get_run(run).inputs
        assert inputs
        logged = {entry.dataset.digest for entry in inputs.dataset_inputs}
        assert logged == {str(turn) for turn in turns}
    tags = client.get_run(runs[0]).data.tags
    assert all(tags[f"tag.{turn}"] in runs for turn in turns)


def test_deleted_experiment_is_one_clear_error(store: Path) -> None:
    import mlflow

    connect("digits")
    experiment = mlflow.get_experiment_by_name("digits")
    assert experiment is not None
    mlflow.delete_experiment(experiment.experiment_id)
    with pytest.raises(UserError, match=r"mlflow\.db: .*deleted experiment 'digits'"):
        connect("digits")


def test_corrupt_store_is_one_clear_error(store: Path) -> None:
    (store / "mlflow.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(UserError, match="not a database"):
        connect("digits")


def test_unreachable_server_is_one_clear_error(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9: .*refused"):
        connect("digits")


def test_run_of_a_dead_process_is_closed(store: Path) -> None:
    import mlflow

    code = (
        "import os, mlflow; from pipeline import process, tracking; tracking.connect('digits');"
        "mlflow.start_run(tags=process.identity()); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False, timeout=120)
    connect("digits")
    with mlflow.start_run(tags=process.identity()) as alive:
        close_dead_runs()
        runs = mlflow.search_runs(output_format="list")
        states = {run.info.run_id: run.info.status for run in runs}
    assert states.pop(alive.info.run_id) == "RUNNING"
    assert list(states.values()) == ["KILLED"]


def test_mlflow_ui_listens_to_this_machine_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "ui", "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
    family = [psutil.Process(server.pid)]
    try:
        deadline = time.monotonic() + 180
        while not answers(port):
            assert server.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.5)
        family += family[0].children(recursive=True)
        sockets = [s for process in family for s in process.net_connections("tcp")]
    finally:
        with suppress(psutil.NoSuchProcess):
            family += family[0].children(recursive=True)  # workers may have come since
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        server.wait()
    listening = {s.laddr for s in sockets if s.status == psutil.CONN_LISTEN}
    assert port in {address.port for address in listening}
    assert {address.ip for address in listening} <= {"127.0.0.1", "::1"}


def answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok
    except requests.RequestException:
        return False
