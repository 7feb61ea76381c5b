from pathlib import Path

import mlflow
import pytest
from mlflow.entities import Run

from pipeline.tracking.run import TrackedRun
from pipeline.tracking.store import CATCH_UP, TrackingUnavailableError
from tests.helpers.configs import MakeConfig


def create_run() -> str:
    experiment = mlflow.get_experiment_by_name("digits")
    assert experiment is not None
    return mlflow.MlflowClient().create_run(experiment.experiment_id).info.run_id


def get_run(run_id: str) -> Run:
    return mlflow.MlflowClient().get_run(run_id)


@pytest.fixture
def run(tracked: Path, cfg: MakeConfig) -> TrackedRun:
    """A run that is open."""
    result = TrackedRun(cfg(), tracked, 1)
    result.resume(create_run())
    return result


def steps(run_id: str) -> list[int]:
    history = mlflow.MlflowClient().get_metric_history(run_id, "val_loss")
    return [metric.step for metric in history]


def test_epoch_is_logged_once_even_by_a_resumed_run(run: TrackedRun, cfg: MakeConfig) -> None:
    for epoch in (1, 2, 2):
        run.log_epoch(epoch, {"epoch": epoch, "val_loss": 1 / epoch})
    resumed = TrackedRun(cfg(), run.prepared, 1)
    resumed.resume(run.run_id)
    for epoch in (1, 2, 3):
        resumed.log_epoch(epoch, {"epoch": epoch, "val_loss": 1 / epoch})
    assert steps(run.run_id) == [1, 2, 3]
    assert get_run(run.run_id).data.metrics == {"val_loss": pytest.approx(1 / 3)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "failure", "tag"),
    [("FINISHED", "", None), ("KILLED", "", None), ("FAILED", "x" * 6000, "x" * 5000)],
)
def test_closed_run_has_a_status_and_perhaps_a_reason(
    run: TrackedRun, status: str, failure: str, tag: str | None
) -> None:
    run.close(status, failure)
    closed = get_run(run.run_id)
    assert closed.info.status == status
    assert closed.data.tags.get("failure") == tag


def test_run_that_was_never_opened_can_be_closed(tracked: Path, cfg: MakeConfig) -> None:
    TrackedRun(cfg(), tracked, 1).close("KILLED")
    assert mlflow.search_runs(search_all_experiments=True, output_format="list") == []


def test_failing_store_stops_the_logging_and_not_the_training(
    run: TrackedRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id, run.run_id = run.run_id, "no such run"
    run.log_epoch(1, {"val_loss": 0.5})
    assert run.error is not None
    warning = capsys.readouterr().err
    assert warning.startswith("warning: tracking is incomplete: MLflow store sqlite:///")
    assert "no such run" in warning
    assert CATCH_UP in warning
    run.run_id = run_id
    run.log_epoch(2, {"val_loss": 0.4})
    assert steps(run_id) == []
    assert capsys.readouterr().err == ""


def test_error_that_a_run_does_not_survive_is_raised(run: TrackedRun) -> None:
    def fail() -> None:
        mlflow.MlflowClient().get_run("no such run")

    with pytest.raises(Exception, match="no such run"):
        run.attempt(fail, survives=TrackingUnavailableError)
    assert run.error is None
