"""One session, which is one start of a sweep: launch workers until done, then write the results."""

import os
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial

import mlflow
from filelock import FileLock, Timeout
from optuna.trial import FrozenTrial

from pipeline.artifacts.initial import initial_model
from pipeline.config.schema import INITIAL_MODEL
from pipeline.data.splits import data_digest
from pipeline.sweeps.data import prepare_data
from pipeline.sweeps.launchers import launch
from pipeline.sweeps.plan import Plan
from pipeline.sweeps.preflight import check_same_study, is_started
from pipeline.sweeps.progress import show_progress
from pipeline.sweeps.results import (
    best_tags,
    describe_results,
    print_summary,
    write_results,
    write_table,
)
from pipeline.sweeps.runs import close_sweep_run, open_sweep_run, reconcile_runs
from pipeline.sweeps.storage import Study, database_errors, find_study
from pipeline.sweeps.study import requeue_stale
from pipeline.sweeps.task import Task
from pipeline.sweeps.trials import (
    FAILURE,
    SETTINGS,
    failed_trials,
    finished_trials,
    reason_to_stop,
    too_many_failures,
    total_trials,
)
from pipeline.sweeps.warm_start import warm_start
from pipeline.system import cli, process
from pipeline.system.colour import print_warning
from pipeline.system.errors import UserError
from pipeline.system.files import sha256
from pipeline.tracking.liveness import Heartbeat
from pipeline.tracking.store import TrackingUnavailableError, use_store

# Consecutive launches without a finished trial; higher than the limit on deaths of one trial.
_MAX_LAUNCHES = 15
_CATCH_UP = "When the store is back, the same command completes the runs."


def run_sweep(plan: Plan) -> None:
    """Run a sweep until it has all its trials, or resume one that was interrupted.

    Raises:
        UserError: when the study of this name has other settings, too many trials fail, or the
            sweep is already running.
    """
    with database_errors():
        plan = _with_initial_model(plan)
    # Killed workers leave semaphores, which Python's resource tracker removes with a warning.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
    with _exclusive(plan), database_errors():
        prepared = prepare_data(plan.cfg)
        study = plan.store.create(*plan.sweep.directions)
        use_store()
        task = Task(
            store=plan.store,
            sweep=plan.sweep,
            base=plan.base,
            prepared=prepared,
            digest=data_digest(prepared),
            initial=plan.cfg.initial_model,
            threads=plan.threads,
            tracking_uri=mlflow.get_tracking_uri(),
            parent_run="",
            session=uuid.uuid4().hex,
            parent=process.identity() if plan.launcher.backend == "local" else None,
        )
        status, heartbeat = "FAILED", None
        try:
            task = _open(plan, study, task)
            heartbeat = Heartbeat(task.parent_run) if task.parent_run else None
            try:
                _launch_until_done(plan, study, task)
            finally:
                write_results(plan.results, study, plan.sweep, plan.space)
            status = "FAILED" if too_many_failures(study, plan.space, plan.sweep) else "FINISHED"
        except (KeyboardInterrupt, SystemExit):
            status = "KILLED"
            study.stop_session(task.session)
            raise
        finally:
            if heartbeat:
                heartbeat.stop()
            _close(plan, study, task, status)
        _check_failures(plan, study)
        print_summary(study, plan.sweep, plan.results)


def _with_initial_model(plan: Plan) -> Plan:
    """The plan with the digest of the model that its trials start from.

    It is the model with which the study began. An alias may now stand for another one.

    Raises:
        UserError: when there is no such model.
    """
    uri, digest = plan.cfg.train.init_from, plan.cfg.initial_model
    if uri is None:
        return plan
    with suppress(UserError):  # there may be no study yet
        before = find_study(plan.store.folder, plan.sweep.name, plan.store.database).user_attrs
        if before[SETTINGS]["train.init_from"] == uri:
            digest = before[SETTINGS].get(INITIAL_MODEL, "")
    with initial_model(uri, digest) as path:
        assert path is not None
        return replace(plan, cfg=plan.cfg.model_copy(update={INITIAL_MODEL: sha256(path)}))


@contextmanager
def _exclusive(plan: Plan) -> Iterator[None]:
    """Let only one session at a time use a study in a folder; a database allows several."""
    if plan.launcher.storage:
        yield
        return
    plan.store.folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(plan.store.folder / "sweep.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"{plan.sweep.name}: this sweep is already running") from None
    try:
        yield
    finally:
        lock.release()


def _open(plan: Plan, study: Study, task: Task) -> Task:
    """Check that the study belongs to this sweep, and open the sweep's MLflow run."""
    # Several machines may start one study at the same time.
    with cli.signals_held(), plan.store.lock:
        if not is_started(study):
            given = plan.sweep, plan.space, plan.base, plan.starting_points
            warm_start(study, *given, task.digest, task.initial)
        check_same_study(study, plan.sweep, plan.space, plan.cfg, task.digest, plan.base)
        try:
            run = open_sweep_run(plan.cfg, task.prepared, plan.sweep.name, study.user_attrs["id"])
        except TrackingUnavailableError as error:
            _warn(error)
            return task
        return replace(task, parent_run=run)


def _launch_until_done(plan: Plan, study: Study, task: Task) -> None:
    """Launch workers repeatedly until enough trials have ended, or too many have failed."""
    total = total_trials(study, plan.space, plan.sweep)
    if total < plan.sweep.trials:
        print(f"{plan.sweep.name}: the space has only {total} combinations")
    table = partial(write_table, plan.results, sweep=plan.sweep, space=plan.space)
    with show_progress(plan.store, plan.sweep, total, table):
        launches = 0
        while (ended := len(_finished_trials(plan, study))) < total:
            if too_many_failures(study, plan.space, plan.sweep) or reason_to_stop(
                study, plan.sweep
            ):
                break
            if reason := launch(plan.launcher, task):
                print(reason, file=sys.stderr)
                time.sleep(1)
            launches = launches + 1 if len(finished_trials(study)) == ended else 0
            if launches == _MAX_LAUNCHES:
                raise UserError(
                    f"{plan.sweep.name}: workers keep dying without finishing a trial; "
                    f"last reason: {reason}"
                )
    if ended < total and (reason := reason_to_stop(study, plan.sweep)):
        print(f"{plan.sweep.name}: {reason}")


def _finished_trials(plan: Plan, study: Study) -> list[FrozenTrial]:
    """The trials that have ended, after those whose worker died have been queued again.

    Without that, such a trial would count as running since its start, also while no session ran.
    """
    with plan.store.lock:
        requeue_stale(study)
        return finished_trials(study)


def _close(plan: Plan, study: Study, task: Task, status: str) -> None:
    """Reconcile the MLflow runs with the study, however the session ended."""
    with plan.store.lock:  # other sessions of this study may end at the same time
        requeue_stale(study)
        if not task.parent_run:
            return
        try:
            reconcile_runs(study, task)
            tags, note = best_tags(study, plan.sweep), describe_results(study, plan.sweep)
            close_sweep_run(task.parent_run, status, plan.results, tags, note)
        except TrackingUnavailableError as error:
            _warn(error)


def _warn(error: TrackingUnavailableError) -> None:
    print_warning(f"tracking is incomplete: {error}\n{_CATCH_UP}")


def _check_failures(plan: Plan, study: Study) -> None:
    """Raise UserError when too many trials have failed."""
    if not too_many_failures(study, plan.space, plan.sweep):
        return
    failures = failed_trials(study)
    raise UserError(
        f"{plan.sweep.name}: {len(failures)} of {len(finished_trials(study))} trials failed, more "
        f"than sweep.max_failed_fraction, {plan.sweep.max_failed_fraction}; the last one, trial "
        f"{failures[-1].number}: {failures[-1].user_attrs[FAILURE]}"
    )
