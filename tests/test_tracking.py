import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import process, tracking
from pipeline.command import UserError

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

    tracking.connect("digits")
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


def test_deleted_experiment_is_one_clear_error(store: Path) -> None:
    import mlflow

    tracking.connect("digits")
    experiment = mlflow.get_experiment_by_name("digits")
    assert experiment is not None
    mlflow.delete_experiment(experiment.experiment_id)
    with pytest.raises(UserError, match=r"mlflow\.db: .*deleted experiment 'digits'"):
        tracking.connect("digits")


def test_corrupt_store_is_one_clear_error(store: Path) -> None:
    (store / "mlflow.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(UserError, match="not a database"):
        tracking.connect("digits")


def test_unreachable_server_is_one_clear_error(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9: .*refused"):
        tracking.connect("digits")


def test_run_of_a_dead_process_is_closed(store: Path) -> None:
    import mlflow

    code = (
        "import os, mlflow; from pipeline import process, tracking; tracking.connect('digits');"
        "mlflow.start_run(tags=process.identity()); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False, timeout=120)
    tracking.connect("digits")
    with mlflow.start_run(tags=process.identity()) as alive:
        tracking.close_dead_runs()
        runs = mlflow.search_runs(output_format="list")
        states = {run.info.run_id: run.info.status for run in runs}
    assert states.pop(alive.info.run_id) == "RUNNING"
    assert list(states.values()) == ["KILLED"]
