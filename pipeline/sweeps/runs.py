"""The MLflow runs of a sweep: one parent, and a child for each trial.

The study is the source of truth. After the MLflow store was unavailable, or a process died,
`reconcile_runs` updates the runs to match the study.
"""

import time
from functools import lru_cache
from pathlib import Path

import mlflow
from mlflow.entities import Metric, Run, RunTag
from optuna.trial import FrozenTrial

from pipeline.config.overrides import key_of
from pipeline.config.paths import COMPOSED
from pipeline.config.schema import Config
from pipeline.config.yaml_files import dump_config
from pipeline.data.splits import data_digest
from pipeline.sweeps.descriptions import describe_trial
from pipeline.sweeps.storage import Study
from pipeline.sweeps.task import Task
from pipeline.sweeps.trials import (
    DISCARDED,
    FAILURE,
    HISTORY,
    OVERRIDES,
    TAKEN_OVER,
    THREADS,
    WORKER_DIED,
    finished_trials,
)
from pipeline.system import process
from pipeline.system.errors import UserError
from pipeline.tracking.changes import log_changes
from pipeline.tracking.description import NOTE
from pipeline.tracking.environment import environment_tags, source_tags
from pipeline.tracking.inputs import log_training_inputs
from pipeline.tracking.liveness import close_dead_runs, signs_of_life
from pipeline.tracking.names import configuration_name, run_params, trial_name
from pipeline.tracking.run import TrackedRun, epoch_metrics
from pipeline.tracking.store import TrackingUnavailableError, connect, mlflow_errors, set_tags
from pipeline.tracking.tags import CONFIGURATION, DATA_DIGEST, INIT_DIGEST, PARENT_RUN, STUDY
from pipeline.training.history import ROBUST, Row, best_epoch

SWEEP_ID = "sweep.id"  # a resumed sweep finds its run by this tag
TRIAL_NUMBER = "trial.number"
TRIAL_STATE = "trial.state"
_STATUS = {"COMPLETE": "FINISHED", "PRUNED": "FINISHED", "FAIL": "FAILED"}


class TrialRun(TrackedRun):
    """The run of one trial."""

    def __init__(
        self, cfg: Config, task: Task, overrides: list[str], threads: int, number: int
    ) -> None:
        """Store the settings of the run; `start` creates it.

        Args:
            cfg: the configuration of the trial.
            task: the sweep's run, data and parameters.
            overrides: those of the trial.
            threads: number of TensorFlow threads.
            number: the trial's number.
        """
        super().__init__(cfg, task.prepared, threads)
        self.parent, self.number = task.parent_run, number
        self._searched, self._study = task.searched, task.sweep.name
        self.overrides = overrides
        if not self.parent:
            self.error = TrackingUnavailableError("the sweep has no run")

    def start(self, resumed: int | None = None) -> None:
        """Open the run, and log what is known before the training starts.

        Args:
            resumed: the number of the trial whose worker died. Its run goes on as this one.
        """
        self.attempt(lambda: self._start(resumed))

    def end(self, state: str, history: list[Row], failure: str = "") -> None:
        """Close the run with the state that the study has for the trial.

        A complete trial gets the metrics of its best epoch, by the names that a training has. Other
        trials have none, so they win no sort.
        """
        self.attempt(lambda: self._end(state, history, failure))

    def mark_killed(self) -> None:
        """Close the run of an interrupted trial, unless another worker has resumed it already."""
        self.attempt(self._mark_killed)

    def _mark_killed(self) -> None:
        run = mlflow.MlflowClient().get_run(self.run_id)
        if run.data.tags[TRIAL_NUMBER] == str(self.number):
            self.close("KILLED")

    def add(self, trial: FrozenTrial) -> None:
        """Log a whole trial that has ended and has no run. It takes few calls: there may be many.

        Raises:
            MlflowException: when the store does not answer.
        """
        client = mlflow.MlflowClient()
        assert trial.datetime_start is not None
        assert trial.datetime_complete is not None
        began = int(trial.datetime_start.timestamp() * 1000)
        run = self._create(began)
        state, history = trial.state.name, trial.user_attrs.get(HISTORY, [])
        failure = trial.user_attrs.get(FAILURE, "")
        client.log_batch(
            run.info.run_id,
            [*epoch_metrics(history), *_best_metrics(state, history)],
            run_params(self.cfg),
            self._end_tags(run.info.run_id, state, history, failure),
        )
        client.log_text(run.info.run_id, dump_config(self.cfg), COMPOSED)
        ended = int(trial.datetime_complete.timestamp() * 1000)
        client.set_terminated(run.info.run_id, _STATUS[state], ended)

    def _start(self, resumed: int | None) -> None:
        client = mlflow.MlflowClient()
        parent = _sweep_run(self.parent)
        if (run := _lost_run(parent, resumed)) is not None:
            self.resume(run.info.run_id)
            set_tags(self.run_id, self._tags())  # first: a RUNNING run of a dead process is closed
            client.update_run(self.run_id, "RUNNING", self._name())
        else:
            run = self._create()
            self.run_id = run.info.run_id
        # MLflow's parameters are immutable: skip those that a resumed run has already.
        params = [param for param in run_params(self.cfg) if param.key not in run.data.params]
        client.log_batch(self.run_id, params=params)
        client.log_text(self.run_id, dump_config(self.cfg), COMPOSED)

    def _create(self, began: int | None = None) -> Run:
        """Create a run; `began` is in milliseconds."""
        parent = _sweep_run(self.parent)
        return mlflow.MlflowClient().create_run(
            parent.info.experiment_id, began, self._tags(), self._name()
        )

    def _name(self) -> str:
        values = dict(
            text.split("=", 1) for text in self.overrides if key_of(text) in self._searched
        )
        return trial_name(self.number, values)

    def _tags(self) -> dict[str, str]:
        digest = self.cfg.initial_model
        return {
            **({INIT_DIGEST: digest} if digest else {}),
            PARENT_RUN: self.parent,
            TRIAL_NUMBER: str(self.number),
            STUDY: self._study,
            CONFIGURATION: configuration_name(self.cfg),
            "overrides": " ".join(self.overrides),
            **process.identity(),
            **environment_tags(self.threads),
        }

    def _end(self, state: str, history: list[Row], failure: str) -> None:
        mlflow.MlflowClient().log_batch(
            self.run_id,
            _best_metrics(state, history),
            tags=self._end_tags(self.run_id, state, history, failure),
        )
        self.close(_STATUS[state])

    def _end_tags(self, run_id: str, state: str, history: list[Row], failure: str) -> list[RunTag]:
        note = describe_trial(run_id, self.number, self.overrides, history, failure, state)
        tags = {TRIAL_STATE: state, NOTE: note} | ({FAILURE: failure[:5000]} if failure else {})
        return [RunTag(key, value) for key, value in tags.items()]


@lru_cache(maxsize=1)
def _sweep_run(run_id: str) -> Run:
    """The run of the sweep, as it was when this process first asked: see its name, experiment."""
    return mlflow.MlflowClient().get_run(run_id)


def _best_metrics(state: str, history: list[Row]) -> list[Metric]:
    """The metrics of a complete trial's best epoch; other trials have none."""
    if state != "COMPLETE":
        return []
    best, now = best_epoch(history), int(time.time() * 1000)
    values = {f"validation_{name}": best[f"val_{name}"] for name in ("loss", "accuracy")}
    if ROBUST in best:
        values[f"validation_{ROBUST}"] = best[ROBUST]
    return [Metric(name, value, now, 0) for name, value in values.items()]


def _lost_run(parent: Run, number: int | None) -> Run | None:
    """The run of a trial whose worker has certainly died; None if there is none.

    A worker on a lost machine may come back, and two must not write one run.
    """
    if number is None:
        return None
    found = mlflow.search_runs(
        experiment_ids=[parent.info.experiment_id],
        filter_string=f"tags.`{PARENT_RUN}` = '{parent.info.run_id}' "
        f"and tags.`{TRIAL_NUMBER}` = '{number}'",
        max_results=1,
        output_format="list",
    )
    for run in found:
        dead = process.state_of(run.data.tags) is process.State.DEAD
        if dead or run.info.status == "KILLED":
            return run
    return None


def open_sweep_run(cfg: Config, prepared: Path, name: str, sweep_id: str) -> str:
    """Open the run of a sweep: resume its existing run, or create one.

    Args:
        cfg: the configuration that all trials share.
        prepared: folder of the prepared data.
        name: the name of the study.
        sweep_id: the unique id of the study.

    Returns:
        The run's id.

    Raises:
        TrackingUnavailableError: when the store does not answer.
        UserError: when the store cannot be read.
    """
    connect(cfg.tracking.experiment)
    with mlflow_errors():
        close_dead_runs()
        client = mlflow.MlflowClient()
        experiment = mlflow.get_experiment_by_name(cfg.tracking.experiment)
        assert experiment is not None
        found = mlflow.search_runs(
            experiment_ids=[experiment.experiment_id],
            filter_string=f"tags.`{SWEEP_ID}` = '{sweep_id}'",
            max_results=1,
            output_format="list",
        )
        # A new run has its tag from the start: else a kill could leave one that is never found.
        tags = {SWEEP_ID: sweep_id}
        run = (
            found[0]
            if found
            else client.create_run(experiment.experiment_id, run_name=f"sweep {name}", tags=tags)
        )
        run_id = run.info.run_id
        tags = {STUDY: name, DATA_DIGEST: data_digest(prepared)}
        set_tags(run_id, {**tags, **signs_of_life(), **source_tags(), NOTE: "It is running."})
        client.update_run(run_id, "RUNNING")  # last: a RUNNING run of a dead process is closed
        log_changes(run_id)
        if not run.inputs or not run.inputs.dataset_inputs:
            log_training_inputs(run_id, cfg, prepared)
        return str(run_id)


def reconcile_runs(study: Study, task: Task) -> None:
    """Update the run of each ended trial to match the study.

    Raises:
        TrackingUnavailableError: when the store does not answer.
    """
    with mlflow_errors():
        close_dead_runs()
        children = mlflow.search_runs(
            search_all_experiments=True,
            filter_string=f"tags.`{PARENT_RUN}` = '{task.parent_run}'",
            output_format="list",
        )
        runs = {int(child.data.tags[TRIAL_NUMBER]): child for child in children}
        for trial in study.get_trials(deepcopy=False):
            run = runs.get(trial.number)
            died = trial.user_attrs.get(DISCARDED) == WORKER_DIED
            # `close_dead_runs` sees only this machine's processes; the study knows of the others.
            if run and run.info.status == "RUNNING" and died:
                mlflow.MlflowClient().set_terminated(run.info.run_id, "KILLED")
    for trial in finished_trials(study):
        if TAKEN_OVER in trial.user_attrs:
            continue  # its run belongs to the other sweep
        _reconcile_trial(trial, runs.get(trial.number), task)


def _reconcile_trial(trial: FrozenTrial, run: Run | None, task: Task) -> None:
    state = trial.state.name
    if run and (run.info.status, run.data.tags.get(TRIAL_STATE)) == (_STATUS[state], state):
        return
    overrides = trial.user_attrs.get(OVERRIDES, [])
    try:
        cfg = task.config(overrides)
    except UserError:
        return  # the trial failed for this reason, and never had a run
    threads = trial.user_attrs.get(THREADS, task.threads)
    trial_run = TrialRun(cfg, task, overrides, threads, trial.number)
    if run:
        trial_run.attempt(lambda: trial_run.resume(run.info.run_id))
        history = trial.user_attrs.get(HISTORY, [])
        trial_run.log_history(history)
        trial_run.end(state, history, trial.user_attrs.get(FAILURE, ""))
    else:
        trial_run.attempt(lambda: trial_run.add(trial))
    if trial_run.error:
        raise trial_run.error


def close_sweep_run(
    run_id: str, status: str, results: Path, tags: dict[str, str], note: str
) -> None:
    """Log the results of a sweep, and close its run.

    Args:
        run_id: the id of the sweep's run.
        status: FINISHED, FAILED or KILLED.
        results: the folder of the table and the plots.
        tags: those of the best trial; empty if there is none.
        note: the description of the run.
    """
    with mlflow_errors():
        client = mlflow.MlflowClient()
        set_tags(run_id, {**tags, NOTE: note})
        if tags:
            mlflow.log_metrics({"best_value": float(tags["best.value"])}, run_id=run_id)
        if results.is_dir():
            client.log_artifacts(run_id, str(results))
        client.set_terminated(run_id, status)
