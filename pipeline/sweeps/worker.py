"""A worker of a sweep. It asks for a trial, trains it, and asks for the next trial."""

import gc
import io
import math
import os
import signal
import threading
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path

import keras
import mlflow
import optuna
import tensorflow as tf
from optuna import Trial, TrialPruned
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import TrialState

from pipeline.artifacts.initial import initial_model
from pipeline.data.splits import load_split
from pipeline.sweeps.data import find_data
from pipeline.sweeps.parsing import parse_space
from pipeline.sweeps.runs import TrialRun
from pipeline.sweeps.storage import Study
from pipeline.sweeps.study import ask_trial
from pipeline.sweeps.task import REPLACE, SWEEPS_FOLDER, Task
from pipeline.sweeps.trials import (
    FAILURE,
    HISTORY,
    OVERRIDES,
    PROCESSOR,
    REQUEUED,
    RUN,
    STARTING_POINT,
    THREADS,
    WEIGHTS,
)
from pipeline.system import process
from pipeline.system.determinism import configure_tensorflow
from pipeline.system.errors import UserError, describe_error
from pipeline.system.processor import cpu
from pipeline.tracking.store import use_store
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.history import ROBUST, Row
from pipeline.training.loop import train
from pipeline.training.watch import MeasureRobustness

_TRAINING_LOCK = threading.Lock()  # Keras trains one network at a time in a process


class StoppedError(Exception):
    """The worker's session was interrupted."""


@dataclass
class Outcome:
    """How a trial ended."""

    state: TrialState
    values: list[float] | None = None  # of the objectives; the metric is that of the best epoch
    failure: str = ""
    weights: int | None = None  # number of weights and biases
    history: list[Row] = field(default_factory=list)


def work(task: Task) -> str:
    """Run trials until enough have ended, too many have failed, or the session was interrupted.

    Returns:
        Why the worker ended before that; "" if it did not. REPLACE asks for a new process. The
        reason is not raised, because an exception would end the other workers of a cluster.
    """
    if task.parent:
        threading.Thread(target=_end_with, args=(task.parent,), daemon=True).start()
    # The output of the trainings would hide the output of the sweep.
    with _TRAINING_LOCK, redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        try:
            return _run_trials(task)
        except Exception as error:
            return f"{process.HOST}: {describe_error(error)[:500]}"


def _run_trials(task: Task) -> str:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    tf.get_logger().setLevel("ERROR")  # it warns of functions that each trial compiles
    configure_tensorflow(task.threads)
    use_store()
    mlflow.set_tracking_uri(task.tracking_uri)
    task = replace(task, prepared=find_data(task))
    study = task.store.open()
    space = parse_space(task.sweep)
    trials = 0
    while trial := ask_trial(study, space, task.sweep, task.session):
        try:
            # Once the MLflow store has failed, later trials do not try to reach it.
            task = replace(task, parent_run=run_trial(task, study, trial))
        finally:
            study.release(trial)
        keras.utils.clear_session(free_memory=True)
        if not gc.get_freeze_count():
            gc.freeze()  # imported modules stay: the garbage collector need not scan them again
        trials += 1
        if task.parent and trials == task.max_trials:
            return REPLACE
    return ""


def run_trial(task: Task, study: Study, trial: Trial) -> str:
    """Train a trial and record how it ended.

    A trial that fails for any reason is recorded as failed. If the session was interrupted, the
    trial's state stays RUNNING without a worker, and the next worker restarts it.

    Returns:
        The MLflow run of the sweep; "" if the MLflow store has failed.
    """
    overrides = trial.user_attrs[OVERRIDES]
    trial.set_user_attr(THREADS, task.threads)
    trial.set_user_attr(PROCESSOR, cpu())
    try:
        cfg = task.config(overrides)
    except UserError as error:
        _record(task, study, trial, _failed(error, []))
        return task.parent_run
    run = TrialRun(cfg, task, overrides, task.threads, trial.number)
    run.start(trial.user_attrs.get(REQUEUED))
    run.attempt(run.beat)
    if not run.error:
        trial.set_user_attr(RUN, run.run_id)
    try:
        outcome = _train_trial(task, study, trial, run)
        _record(task, study, trial, outcome)
    # Another worker has restarted the trial, or will.
    except (StoppedError, UpdateFinishedTrialError):
        run.mark_killed()
        return task.parent_run
    run.end(outcome.state.name, outcome.history, outcome.failure)
    return "" if run.error else task.parent_run


@dataclass
class _Reporter:
    """Reports each epoch of a trial, and ends the training of one that is pruned or stopped."""

    task: Task
    study: Study
    trial: Trial
    run: TrialRun
    history: list[Row] = field(default_factory=list)

    def __call__(self, epoch: int, row: Row) -> None:
        passed = self.run.has_epoch(epoch)  # the worker that died has logged it
        self.history.append(row)
        self.run.log_epoch(epoch, row)
        sweep = self.task.sweep
        # Both raise UpdateFinishedTrialError if another worker has restarted the trial.
        if sweep.also_minimize:
            self.trial.set_user_attr(HISTORY, self.history)
        else:
            self.trial.report(row[sweep.metric], epoch)
        if self.study.is_stopped(self.task.session):
            raise StoppedError
        last = epoch == self.run.cfg.train.epochs
        # A starting point is never pruned, but the pruner compares others with it.
        may_end = not (sweep.also_minimize or last or passed)
        if may_end and self.trial.should_prune() and not self._is_kept:
            raise TrialPruned

    @property
    def _is_kept(self) -> bool:
        return bool(self.trial.user_attrs.get(STARTING_POINT))


def _train_trial(task: Task, study: Study, trial: Trial, run: TrialRun) -> Outcome:
    """Train a trial. It resumes from the checkpoints of a worker that died."""
    reporter = _Reporter(task, study, trial, run)
    folder = Path(SWEEPS_FOLDER) / task.sweep.name / "checkpoints"
    checkpoints = None
    try:
        with initial_model(run.cfg.train.init_from, run.cfg.initial_model) as init:
            checkpoints = Checkpoints.of(run.cfg, task.prepared, folder)
            outcome = _fit(task, reporter, checkpoints, init)
    # The trial did not fail: the session was interrupted, the study's storage failed, or another
    # worker has restarted the trial.
    except (StoppedError, StorageInternalError, UpdateFinishedTrialError):
        raise
    except Exception as error:
        outcome = _failed(error, reporter.history)
    if checkpoints:
        checkpoints.remove()
    return outcome


def _fit(task: Task, reporter: _Reporter, checkpoints: Checkpoints, init: Path | None) -> Outcome:
    metric = task.sweep.metric
    try:
        validation = load_split(task.prepared, "validation")
        watch = [MeasureRobustness(validation)] if metric == ROBUST else []
        trained = train(reporter.run.cfg, task.prepared, reporter, checkpoints, init, watch)
        best = trained.best
    except TrialPruned:
        return Outcome(TrialState.PRUNED, history=reporter.history)
    if not math.isfinite(best[metric]):
        raise UserError(f"{metric} is {best[metric]}")
    weights = trained.model.count_params()
    values = task.sweep.objectives(best[metric], weights)
    return Outcome(TrialState.COMPLETE, values, weights=weights, history=reporter.history)


def _failed(error: Exception, history: list[Row]) -> Outcome:
    return Outcome(TrialState.FAIL, failure=describe_error(error), history=history)


def _record(task: Task, study: Study, trial: Trial, outcome: Outcome) -> None:
    """Tell the study how a trial ended."""
    if outcome.failure:
        trial.set_user_attr(FAILURE, outcome.failure)
    if outcome.weights is not None:
        trial.set_user_attr(WEIGHTS, outcome.weights)
    with task.store.lock:  # no other worker may restart the trial between the two calls
        trial.set_user_attr(HISTORY, outcome.history)
        study.tell(trial, outcome.values, outcome.state)


def _end_with(parent: dict[str, str]) -> None:
    """Kill this process when the process that started the sweep has ended.

    This polls, because macOS cannot signal a child when its parent dies, as Linux can. It sends
    SIGKILL, because TensorFlow's threads would ignore a gentler signal.
    """
    while process.is_alive(parent):
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)
