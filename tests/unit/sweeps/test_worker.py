from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import mlflow
import optuna
import pytest
from mlflow.entities import Run
from optuna.trial import FrozenTrial, TrialState

from pipeline.config.composition import compose
from pipeline.config.overrides import merge_overrides
from pipeline.sweeps.parsing import parse_space
from pipeline.sweeps.runs import TRIAL_NUMBER, TRIAL_STATE, open_sweep_run
from pipeline.sweeps.storage import Store, Study
from pipeline.sweeps.study import ask_trial
from pipeline.sweeps.task import Task
from pipeline.sweeps.trials import FAILURE, HISTORY, OVERRIDES, PROCESSOR, THREADS, epochs_of
from pipeline.sweeps.worker import run_trial
from pipeline.system.processor import cpu
from pipeline.tracking.tags import PARENT_RUN
from pipeline.training.history import ROBUST, best_epoch
from pipeline.training.loop import train
from tests.helpers.configs import changed, without_speed
from tests.helpers.tasks import BASE, task_of

pytestmark = pytest.mark.slow

NEVER = {"_target_": "optuna.pruners.NopPruner"}
AT_ONCE = {"_target_": "optuna.pruners.ThresholdPruner", "lower": 2.0}  # no accuracy is as high


@pytest.fixture(autouse=True)
def empty_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the checkpoints in an empty folder, so that no trial resumes that of another test."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))


@pytest.fixture
def study(store: Store) -> Study:
    return store.open()


def make_task(store: Store, prepared: Path, pruner: Mapping[str, object], parent: str = "") -> Task:
    task = task_of(store, prepared, parent_run=parent)
    return task_of(
        store, prepared, sweep=changed(task.sweep, pruner=dict(pruner)), parent_run=parent
    )


def start(study: Study, task: Task) -> optuna.Trial:
    trial = ask_trial(study, parse_space(task.sweep), task.sweep)
    assert trial is not None
    return trial


def ended(study: Study) -> FrozenTrial:
    [trial] = study.trials
    return trial


def test_sweep_may_choose_the_accuracy_on_corrupted_images(
    study: Study, store: Store, prepared: Path
) -> None:
    task = make_task(store, prepared, NEVER)
    task = replace(task, sweep=changed(task.sweep, metric=ROBUST, name="robust"))
    run_trial(task, study, start(study, task))

    history = ended(study).user_attrs[HISTORY]
    best = best_epoch(history)
    assert ended(study).value == best[ROBUST]
    assert ended(study).intermediate_values == {row["epoch"]: row[ROBUST] for row in history}


def test_complete_trial_has_the_metric_of_its_best_epoch(
    study: Study, store: Store, prepared: Path
) -> None:
    task = make_task(store, prepared, NEVER)
    run_trial(task, study, start(study, task))
    trial = ended(study)
    assert trial.state == TrialState.COMPLETE
    trained = train(compose(merge_overrides(BASE, trial.user_attrs[OVERRIDES])), prepared)
    assert trial.value == trained.best["val_accuracy"]
    assert without_speed(trial.user_attrs[HISTORY]) == without_speed(trained.history)
    assert trial.intermediate_values == {
        row["epoch"]: row["val_accuracy"] for row in trained.history
    }
    assert trial.user_attrs[THREADS] == task.threads
    assert trial.user_attrs[PROCESSOR] == cpu()


def test_second_objective_is_the_number_of_weights(prepared: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "two", "two")
    store.create("maximize", "minimize")
    task = make_task(store, prepared, NEVER)
    task = replace(task, sweep=changed(task.sweep, also_minimize="weights"))
    study = store.open()
    run_trial(task, study, start(study, task))
    trial = ended(study)
    trained = train(compose(merge_overrides(BASE, trial.user_attrs[OVERRIDES])), prepared)
    assert trial.values == [trained.best["val_accuracy"], trained.model.count_params()]
    assert epochs_of(trial) == 2


@pytest.mark.parametrize("also_minimize", [None, "weights"])
def test_worker_leaves_a_trial_that_another_one_has_restarted(
    tmp_path: Path, prepared: Path, also_minimize: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It notices after the second epoch, and leaves the checkpoints to the other worker."""
    store = Store(tmp_path / "lost", "lost")
    task = make_task(store, prepared, NEVER)
    task = replace(task, sweep=changed(task.sweep, also_minimize=also_minimize))
    store.create(*task.sweep.directions)
    study = store.open()
    trial = start(study, task)
    other = store.open()

    def restart(session: str) -> bool:
        other.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        return False

    monkeypatch.setattr(study, "is_stopped", restart)  # it is asked after each epoch
    run_trial(task, study, trial)
    [folder] = (tmp_path / ".sweeps/default/checkpoints").iterdir()
    assert "epoch-000001" in {path.name for path in folder.iterdir()}
    assert ended(study).state == TrialState.FAIL


def test_pruned_trial_keeps_the_epochs_that_it_had(
    study: Study, store: Store, prepared: Path
) -> None:
    task = make_task(store, prepared, AT_ONCE)
    run_trial(task, study, start(study, task))
    trial = ended(study)
    assert trial.state == TrialState.PRUNED
    assert [row["epoch"] for row in trial.user_attrs[HISTORY]] == [1]
    assert FAILURE not in trial.user_attrs


@pytest.mark.parametrize(
    ("overrides", "failure"),
    [
        (["optimizer=sgd", "optimizer.learning_rate=3e38"], "the loss is "),
        (["model.depth=-1"], "model.depth "),
        (["model._target_=no_such_package.network"], "model._target_ "),
    ],
)
def test_failed_trial_has_a_reason_of_one_line(
    study: Study, store: Store, prepared: Path, overrides: list[str], failure: str
) -> None:
    task = make_task(store, prepared, NEVER)
    trial = start(study, task)
    trial.set_user_attr(OVERRIDES, overrides)
    run_trial(task, study, trial)
    assert ended(study).state == TrialState.FAIL
    reason = ended(study).user_attrs[FAILURE]
    assert reason.startswith(failure)
    assert "\n" not in reason


def test_trial_of_an_interrupted_session_stays_running(
    study: Study, store: Store, prepared: Path
) -> None:
    task = make_task(store, prepared, NEVER)
    trial = start(study, task)
    store.open().stop_session(task.session)
    run_trial(task, study, trial)
    assert ended(study).state == TrialState.RUNNING
    study.release(trial)
    assert [stale.number for stale in study.stale()] == [0]


def test_trial_has_a_run_below_that_of_the_sweep(
    study: Study, store: Store, prepared: Path, tracked: Path
) -> None:
    parent = open_sweep_run(compose(BASE), prepared, "digits", "id")
    task = make_task(store, prepared, NEVER, parent)
    assert run_trial(task, study, start(study, task)) == parent
    [run] = mlflow.search_runs(
        search_all_experiments=True,
        filter_string=f"tags.`{PARENT_RUN}` = '{parent}'",
        output_format="list",
    )
    assert (run.info.status, run.data.tags[TRIAL_STATE]) == ("FINISHED", "COMPLETE")
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "val_accuracy")
    assert [metric.step for metric in history] == [1, 2]


def test_later_trials_do_not_try_a_store_that_has_failed(
    study: Study, store: Store, prepared: Path, tracked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = make_task(store, prepared, NEVER, "no such run")
    assert run_trial(task, study, start(study, task)) == ""
    assert ended(study).state == TrialState.COMPLETE
    assert "warning: tracking is incomplete" in capsys.readouterr().err


def test_trial_goes_on_at_its_last_epoch_in_its_own_run(
    study: Study, store: Store, prepared: Path, tracked: Path
) -> None:
    """Its worker ended after an epoch. Another one gives the same values, and prunes no sooner."""
    parent = open_sweep_run(compose(BASE), prepared, "digits", "id")
    first = replace(make_task(store, prepared, NEVER, parent), session="first")
    trial = start(study, first)
    study.stop_session("first")
    run_trial(first, study, trial)
    study.release(trial)
    client = mlflow.MlflowClient()
    [child] = children(parent)
    assert child.info.status == "KILLED"
    [epoch] = client.get_metric_history(child.info.run_id, "images_per_second")

    second = replace(make_task(store, prepared, NEVER, parent), session="second")
    run_trial(second, study, start(study, second))
    died, ended = study.trials
    trained = train(compose(merge_overrides(BASE, ended.user_attrs[OVERRIDES])), prepared)
    assert len(trained.history) > 1
    assert without_speed(ended.user_attrs[HISTORY]) == without_speed(trained.history)
    assert ended.user_attrs[HISTORY][0]["images_per_second"] == epoch.value, "not trained again"
    assert list(ended.intermediate_values) == [row["epoch"] for row in trained.history]
    [resumed] = children(parent)
    assert resumed.info.run_id == child.info.run_id
    assert (resumed.info.status, resumed.data.tags[TRIAL_NUMBER]) == ("FINISHED", "1")
    history = client.get_metric_history(resumed.info.run_id, "val_loss")
    assert [metric.step for metric in history] == list(ended.intermediate_values)
    assert not list((tracked / ".sweeps").rglob("epoch-*"))
    assert died.number == 0


def test_checkpoints_of_a_trial_that_ended_are_removed(
    study: Study, store: Store, prepared: Path, tracked: Path
) -> None:
    for pruner in (NEVER, AT_ONCE):
        task = make_task(store, prepared, pruner)
        trial = start(study, task)
        run_trial(task, study, trial)
        study.release(trial)
        assert not list((tracked / ".sweeps").rglob("epoch-*"))


def children(parent: str) -> list[Run]:
    return mlflow.search_runs(
        search_all_experiments=True,
        filter_string=f"tags.`{PARENT_RUN}` = '{parent}'",
        output_format="list",
    )
