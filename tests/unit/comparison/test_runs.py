from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from pipeline.comparison.runs import find_runs
from pipeline.system.errors import UserError
from pipeline.tracking.lookup import run_names


def log_run(name: str, loss: float, status: str = "FINISHED") -> str:
    """A run of two epochs, the first of which is the best."""
    client = MlflowClient()
    experiment = mlflow.get_experiment_by_name("digits")
    assert experiment
    run_id = client.create_run(experiment.experiment_id, run_name=name).info.run_id
    for step, value in ((1, loss), (2, 0.9)):
        client.log_metric(run_id, "val_loss", value, step=step)
        client.log_metric(run_id, "val_accuracy", 1 - value, step=step)
    client.log_metric(run_id, "test_accuracy", 1 - loss)
    client.log_param(run_id, "model._target_", "pipeline.models.mlp")
    client.log_param(run_id, "tracking.run_name", name)
    client.set_terminated(run_id, status)
    return str(run_id)


@pytest.mark.usefixtures("tracked")
def test_run_is_found_by_name_and_by_id() -> None:
    log_run("other", 0.5)
    run_id = log_run("sunny's fox-42", 0.25)
    for name in ("sunny's fox-42", run_id):
        [found] = find_runs(name)
        assert (found.name, found.state) == (name, "")
        assert (found.metric("val_loss"), found.metric("val_accuracy")) == (0.25, 0.75)
        assert found.metric("test_accuracy") == 0.75
        assert [row["epoch"] for row in found.history] == [1, 2]
        assert found.settings == {"model": "mlp"}
    assert sorted(run_names()) == ["other", "sunny's fox-42"]


@pytest.mark.usefixtures("tracked")
def test_runs_with_one_name_are_told_apart_by_their_ids() -> None:
    ids = [log_run("again", loss) for loss in (0.5, 0.25)]
    assert {found.name for found in find_runs("again")} == {f"again {run[:8]}" for run in ids}


@pytest.mark.usefixtures("tracked")
def test_run_that_is_only_trained_says_so() -> None:
    log_run("trained", 0.5, "SCHEDULED")
    [found] = find_runs("trained")
    assert found.state == "not evaluated"


@pytest.mark.usefixtures("tracked")
def test_run_that_did_not_finish_says_so() -> None:
    log_run("bad", 0.5, "FAILED")
    [found] = find_runs("bad")
    assert found.state == "failed"


@pytest.mark.usefixtures("tracked")
@pytest.mark.parametrize("name", ["nowhere", "it's", "%", "x" * 500])
def test_unknown_run_is_none(name: str) -> None:
    assert find_runs(name) == []


def test_looking_creates_no_store(repository: Path) -> None:
    assert find_runs("nowhere") == []
    assert run_names() == []
    assert list(repository.iterdir()) == []


def test_store_that_does_not_answer_is_one_line(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"^MLflow store http://127\.0\.0\.1:9"):
        find_runs("nowhere")
