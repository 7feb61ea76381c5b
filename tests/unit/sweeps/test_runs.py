from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from optuna.trial import TrialState

from pipeline.config.composition import compose
from pipeline.data.splits import data_digest
from pipeline.sweeps.parsing import parse_space
from pipeline.sweeps.runs import (
    SWEEP_ID,
    TRIAL_NUMBER,
    TRIAL_STATE,
    TrialRun,
    close_sweep_run,
    open_sweep_run,
    reconcile_runs,
)
from pipeline.sweeps.storage import Store, Study
from pipeline.sweeps.study import ask_trial, requeue_stale
from pipeline.sweeps.task import Task
from pipeline.sweeps.trials import FAILURE, HISTORY, OVERRIDES, THREADS
from pipeline.tracking.description import NOTE
from pipeline.tracking.liveness import close_dead_runs
from pipeline.tracking.store import TrackingUnavailableError
from pipeline.tracking.tags import DATA_DIGEST, PARENT_RUN
from pipeline.training.history import best_epoch
from tests.helpers.tasks import BASE, task_of

CFG = compose(BASE)
HISTORY_ROWS = [
    {"epoch": epoch, "val_loss": 1 / epoch, "val_accuracy": epoch / 4} for epoch in (1, 2)
]


@pytest.fixture
def parent(tracked: Path, prepared: Path) -> str:
    """The run of a sweep."""
    return open_sweep_run(CFG, prepared, "digits", "id")


def get_run(run_id: str) -> Run:
    return MlflowClient().get_run(run_id)


def children(parent: str) -> dict[str, Run]:
    """The runs of the trials, by the trials' numbers."""
    runs = mlflow.search_runs(
        search_all_experiments=True,
        filter_string=f"tags.`{PARENT_RUN}` = '{parent}'",
        output_format="list",
    )
    numbers = [run.data.tags[TRIAL_NUMBER] for run in runs]
    assert len(set(numbers)) == len(numbers), "one run for each trial"
    return dict(zip(numbers, runs, strict=True))


def steps(run: Run) -> list[int]:
    history = MlflowClient().get_metric_history(run.info.run_id, "val_loss")
    return [metric.step for metric in history]


def test_sweep_has_one_run_however_often_it_is_started(parent: str, prepared: Path) -> None:
    close_sweep_run(parent, "KILLED", prepared / "no results", {}, "")
    assert get_run(parent).info.status == "KILLED"
    assert open_sweep_run(CFG, prepared, "digits", "id") == parent
    run = get_run(parent)
    assert run.info.status == "RUNNING"
    assert run.info.run_name == "sweep digits"
    assert run.inputs
    assert len(run.inputs.dataset_inputs) == 2
    expected = {SWEEP_ID: "id", "sweep.study": "digits", DATA_DIGEST: data_digest(prepared)}
    assert expected.items() <= run.data.tags.items()
    assert open_sweep_run(CFG, prepared, "digits", "another id") != parent


def test_resumed_sweep_is_not_closed_by_others(
    parent: str, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may look at the moment when its status changes."""
    close_sweep_run(parent, "KILLED", prepared / "no results", {}, "")
    MlflowClient().set_tag(parent, "process.started", "0")
    update = MlflowClient.update_run

    def update_and_look(*arguments: Any) -> None:
        update(*arguments)
        close_dead_runs()

    monkeypatch.setattr(MlflowClient, "update_run", update_and_look)
    open_sweep_run(CFG, prepared, "digits", "id")
    assert get_run(parent).info.status == "RUNNING"


def test_run_of_a_session_that_was_killed_while_it_opened_it_is_used_again(
    tracked: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(run_id: str, tags: dict[str, str]) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.sweeps.runs.set_tags", killed)
        with pytest.raises(KeyboardInterrupt):
            open_sweep_run(CFG, prepared, "digits", "id")
    open_sweep_run(CFG, prepared, "digits", "id")
    assert len(mlflow.search_runs(search_all_experiments=True, output_format="list")) == 1


def test_closed_run_has_the_results_and_the_best_trial(parent: str, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results/trials.csv").write_text("trial\n")
    best = {"best.trial": "3", "best.value": "0.25", "best.overrides": "model.width=4"}
    close_sweep_run(parent, "FINISHED", tmp_path / "results", best, "A note.")
    run = get_run(parent)
    assert (run.info.status, run.data.tags["best.trial"]) == ("FINISHED", "3")
    assert run.data.metrics == {"best_value": 0.25}
    assert run.data.tags[NOTE] == "A note."
    assert "trials.csv" in [artifact.path for artifact in MlflowClient().list_artifacts(parent)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("state", "failure", "status"),
    [("COMPLETE", "", "FINISHED"), ("PRUNED", "", "FINISHED"), ("FAIL", "a reason", "FAILED")],
)
def test_run_of_a_trial_has_its_parameters_and_its_state(
    parent: str, task: Task, state: str, failure: str, status: str
) -> None:
    run = TrialRun(CFG, task, ["optimizer.learning_rate=0.123456", "model.width=4"], 1, 7)
    run.start()
    assert children(parent)["7"].info.status == "RUNNING"
    for row in HISTORY_ROWS:
        run.log_epoch(int(row["epoch"]), row)
    run.end(state, HISTORY_ROWS, failure)
    child = children(parent)["7"]
    assert (child.info.status, child.data.tags[TRIAL_STATE]) == (status, state)
    assert child.info.run_name == "trial 7: learning_rate=0.123"
    assert child.data.tags["overrides"] == "optimizer.learning_rate=0.123456 model.width=4"
    assert child.data.tags.get("failure", "") == failure
    assert child.data.params["model.width"] == "4"
    assert {"seed.init", "seed.order", "seed.augment"} <= set(child.data.params)
    assert steps(child) == [1, 2]
    # Only a complete trial can win a sort by these, which are those of its best epoch.
    best = best_epoch(HISTORY_ROWS)
    expected = {"validation_loss": best["val_loss"], "validation_accuracy": best["val_accuracy"]}
    found = {k: v for k, v in child.data.metrics.items() if k.startswith("validation_")}
    assert found == (expected if state == "COMPLETE" else {})
    assert [artifact.path for artifact in MlflowClient().list_artifacts(child.info.run_id)] == [
        "composed.yaml"
    ]


def test_trial_of_a_sweep_without_a_run_logs_nothing(
    tracked: Path, store: Store, prepared: Path
) -> None:
    run = TrialRun(CFG, task_of(store, prepared, trials=9, parent_run=""), [], 1, 0)
    run.start()
    run.log_epoch(1, {"val_loss": 0.5})
    run.end("COMPLETE", HISTORY_ROWS)
    assert isinstance(run.error, TrackingUnavailableError)
    assert mlflow.search_runs(search_all_experiments=True, output_format="list") == []


@pytest.fixture
def study(store: Store) -> Study:
    return store.open()


@pytest.fixture
def task(store: Store, prepared: Path, parent: str) -> Task:
    return task_of(store, prepared, trials=9, parent_run=parent)


def end_trial(study: Study, task: Task, state: TrialState, **attributes: Any) -> int:
    """Start a trial and end it, as a worker does whose MLflow store does not answer."""
    trial = ask_trial(study, parse_space(task.sweep), task.sweep)
    assert trial is not None
    for key, value in {THREADS: 1, HISTORY: HISTORY_ROWS, **attributes}.items():
        trial.set_user_attr(key, value)
    study.tell(trial, 0.5 if state == TrialState.COMPLETE else None, state)
    study.release(trial)
    return trial.number


@pytest.mark.slow
def test_trials_without_a_run_get_one(study: Study, task: Task) -> None:
    end_trial(study, task, TrialState.COMPLETE)
    end_trial(study, task, TrialState.FAIL, **{FAILURE: "a reason"})
    for _ in range(2):
        reconcile_runs(study, task)
        complete, failed = (children(task.parent_run)[number] for number in ("0", "1"))
        assert (complete.info.status, complete.data.tags[TRIAL_STATE]) == ("FINISHED", "COMPLETE")
        assert (failed.info.status, failed.data.tags["failure"]) == ("FAILED", "a reason")
        assert steps(complete) == steps(failed) == [1, 2]
    overrides = study.trials[0].user_attrs[OVERRIDES]
    assert complete.data.tags["overrides"] == " ".join(overrides)
    assert complete.data.metrics["validation_loss"] == best_epoch(HISTORY_ROWS)["val_loss"]
    assert "validation_loss" not in failed.data.metrics
    began, ended = study.trials[0].datetime_start, study.trials[0].datetime_complete
    assert began is not None
    assert ended is not None
    assert complete.info.start_time == int(began.timestamp() * 1000), "of the trial, not of now"
    assert complete.info.end_time == int(ended.timestamp() * 1000)


def test_run_that_lacks_epochs_is_completed(study: Study, task: Task) -> None:
    number = end_trial(study, task, TrialState.COMPLETE)
    run = TrialRun(CFG, task, study.trials[number].user_attrs[OVERRIDES], 1, number)
    run.start()
    run.log_epoch(1, HISTORY_ROWS[0])
    reconcile_runs(study, task)
    child = children(task.parent_run)[str(number)]
    assert child.info.run_id == run.run_id
    assert child.info.status == "FINISHED"
    assert steps(child) == [1, 2]


def test_run_of_a_discarded_trial_is_closed_and_none_is_created(study: Study, task: Task) -> None:
    space = parse_space(task.sweep)
    trials = [ask_trial(study, space, task.sweep) for _ in range(2)]
    assert None not in trials
    run = TrialRun(CFG, task, [], 1, 0)
    run.start()
    for trial in trials:
        assert trial is not None
        study.release(trial)  # as if its worker had died
    with study.store.lock:
        requeue_stale(study)
    reconcile_runs(study, task)
    assert {number: run.info.status for number, run in children(task.parent_run).items()} == {
        "0": "KILLED"
    }


def test_trial_whose_overrides_are_invalid_has_no_run(study: Study, task: Task) -> None:
    end_trial(study, task, TrialState.FAIL, **{FAILURE: "x", OVERRIDES: ["model.depth=-1"]})
    reconcile_runs(study, task)
    assert children(task.parent_run) == {}


def test_store_that_does_not_answer_is_an_error(
    study: Study, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_trial(study, task, TrialState.COMPLETE)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    with pytest.raises(TrackingUnavailableError):
        reconcile_runs(study, task)
