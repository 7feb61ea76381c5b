import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import mlflow
import psutil
import pytest
import requests
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import IntegrityError, OperationalError

from pipeline.system.errors import UserError
from pipeline.tracking.store import (
    TrackingUnavailableError,
    connect,
    mlflow_errors,
    set_tags,
    use_store,
)
from tests.helpers.configs import assert_one_line


@pytest.mark.slow
def test_store_is_created_where_mlflow_ui_looks_for_it(repository: Path) -> None:
    connect("digits")
    assert (repository / "mlflow.db").is_file()
    experiment = mlflow.get_experiment_by_name("digits")
    assert experiment is not None
    assert experiment.artifact_location == (repository / "mlruns").as_uri()


@pytest.mark.slow
def test_several_processes_may_create_the_store_at_once(repository: Path) -> None:
    code = "from pipeline.tracking.store import connect; connect('digits')"
    processes = [
        subprocess.Popen([sys.executable, "-c", code], env={**os.environ}) for _ in range(3)
    ]
    assert [process.wait(120) for process in processes] == [0, 0, 0]


@pytest.mark.slow
def test_deleted_experiment_is_one_line(repository: Path) -> None:
    connect("digits")
    experiment = mlflow.get_experiment_by_name("digits")
    assert experiment is not None
    mlflow.delete_experiment(experiment.experiment_id)
    with pytest.raises(UserError, match=r"mlflow\.db: .*deleted experiment 'digits'"):
        connect("digits")


@pytest.mark.slow
def test_corrupt_store_is_one_line(repository: Path) -> None:
    (repository / "mlflow.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(UserError, match="not a database"):
        connect("digits")


@pytest.mark.slow
def test_unreachable_server_is_one_line(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9: .*refused"):
        connect("digits")


@pytest.mark.slow
def test_mlflow_ui_listens_only_on_this_machine(
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
    processes = [psutil.Process(server.pid)]
    try:
        deadline = time.monotonic() + 180
        while not answers(port):
            assert server.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.5)
        processes += processes[0].children(recursive=True)
        sockets = [s for process in processes for s in process.net_connections("tcp")]
    finally:
        with suppress(psutil.NoSuchProcess):
            processes += processes[0].children(recursive=True)  # it may have started more workers
        for process in processes:
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


def test_second_experiment_is_created_in_the_same_store(tracked: Path) -> None:
    connect("letters")
    connect("letters")
    names = {experiment.name for experiment in mlflow.search_experiments()}
    assert {"digits", "letters"} <= names
    experiment = mlflow.get_experiment_by_name("letters")
    assert experiment is not None
    assert experiment.artifact_location == (tracked / "mlruns").as_uri()


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("", "sqlite:///{root}/mlflow.db"),
        ("sqlite:///x.db", "sqlite:///{root}/x.db"),
        ("sqlite:///./sub/x.db", "sqlite:///{root}/sub/x.db"),
        ("sqlite:////abs/x.db", "sqlite:////abs/x.db"),
        ("mlruns", "{root}/mlruns"),
        ("./mlruns", "{root}/mlruns"),
        ("file:./mlruns", "{root}/mlruns"),
        ("/abs/mlruns", "/abs/mlruns"),
        ("file:///abs/mlruns", "file:///abs/mlruns"),
        ("http://127.0.0.1:9", "http://127.0.0.1:9"),
        ("postgresql://host/name", "postgresql://host/name"),
        ("databricks", "databricks"),
    ],
)
def test_relative_address_is_below_the_repository(
    repository: Path, monkeypatch: pytest.MonkeyPatch, uri: str, expected: str
) -> None:
    """And not below the working directory, which may be a temporary clone."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    use_store()
    assert mlflow.get_tracking_uri() == expected.format(root=repository)


def test_tags_of_a_run_are_set_and_replaced(tracked: Path) -> None:
    run_id = mlflow.MlflowClient().create_run("0").info.run_id
    set_tags(run_id, {"a": "1", "b": "2"})
    set_tags(run_id, {"b": "3"})
    tags = mlflow.MlflowClient().get_run(run_id).data.tags
    assert (tags["a"], tags["b"]) == ("1", "3")


@pytest.mark.parametrize(
    ("error", "unavailable"),
    [
        (OperationalError("select", {}, Exception("database is locked")), True),
        (ConnectionRefusedError(111, "refused"), True),
        (MlflowException("no answer"), True),  # INTERNAL_ERROR
        (MlflowException.invalid_parameter_value("no such run"), False),
        (IntegrityError("insert", {}, Exception("a\nconflict")), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_error_of_the_store_is_one_line_and_perhaps_temporary(
    tracked: Path, error: Exception, unavailable: bool
) -> None:
    with pytest.raises(UserError) as raised, mlflow_errors():
        raise error
    assert_one_line(raised.value, ["MLflow store sqlite:///", str(tracked)])
    assert isinstance(raised.value, TrackingUnavailableError) == unavailable


def test_bug_is_not_an_error_of_the_store() -> None:
    with pytest.raises(ZeroDivisionError), mlflow_errors():
        raise ZeroDivisionError
