"""The Optuna study of a search: who may begin a trial, and what becomes of those that died.

A trial counts once it has ended, whether complete, pruned or failed. What is void does not: trials
whose process died, which begin again under another number with the same parameters, and trials that
were suggested parameters which another one has. All this is decided under one lock, so that any
number of workers end with exactly the trials that were asked for.
"""

import hashlib
import math
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import optuna
from filelock import FileLock
from optuna.storages import InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages._heartbeat import BaseHeartbeat, get_heartbeat_thread
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from pipeline import process
from pipeline.command import UserError
from pipeline.config import Sweep, one_line
from pipeline.space import Parameter, Params, Space

if TYPE_CHECKING:
    from sqlalchemy import Engine

VOID = "void"  # why a trial does not count
LOST = "its process died"
FAILURE = "failure"  # why one failed
OVERRIDES = "overrides"  # what its parameters come to
HISTORY = "history"  # what its epochs measured
THREADS = "threads"  # of TensorFlow
_OWNER = "process"  # that runs it
_STOPPED = "stopped "  # and the id of a search that was interrupted
_AGAIN = "requeued"  # the number of the trial whose parameters it has
_LOSSES = "losses"  # how often that went on
_MAX_LOSSES = 10  # processes that a trial's parameters may take with them
_MIN_FAILURES = 3  # before the share of failures says something
_HEARTBEAT, _GRACE = 5, 30  # seconds: from one to the next, and until a trial is lost
# Without these a connection that was cut is found out after a quarter of an hour or more: on this
# side, and on the server's, where it may hold the lock that all others wait for. Who waits for the
# other's word probes; who waits for its own to be acknowledged has the user timeout (ms).
_PROBES = (
    "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=5 "
    "-c tcp_user_timeout=15000"
)
_ENGINE = {
    "pool_pre_ping": True,
    "connect_args": {
        "connect_timeout": 10,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 5,
        "tcp_user_timeout": 15000,
        "options": _PROBES,
    },
}
_STARTUP_TRIALS = 10  # that a sampler begins with, where it does not say: Optuna's default
_MAX_REPEATED = 3  # suggestions in a row that were tried already, before one is drawn at random


optuna.logging.set_verbosity(optuna.logging.ERROR)


class Stopped(Exception):  # noqa: N818 -- it is none of the trial's, as TrialPruned is not
    """The search for which a worker trains was interrupted."""


class Study(optuna.Study):
    """Optuna's, without a loop of its own."""

    def stop(self) -> None:
        """Do nothing: samplers call it when all is tried; `claim` knows without."""

    def mark(self, trial: FrozenTrial, key: str, value: str) -> None:
        """Set an attribute of a trial that another process ran."""
        self._storage.set_trial_user_attr(trial._trial_id, key, value)

    @contextmanager
    def alive(self, trial: optuna.Trial) -> Iterator[None]:
        """While the block runs, say again and again that the trial does, where others listen."""
        with get_heartbeat_thread(trial._trial_id, self._storage):
            yield

    def begin(self) -> optuna.Trial:
        """Ask for a trial that is this process's."""
        trial = self.ask()
        # The heartbeat first: one that dies before that, and has an owner, would not be missed.
        if self._heart:
            self._heart.record_heartbeat(trial._trial_id)
        trial.set_user_attr(_OWNER, process.identity())
        return trial

    def leave(self, trial: optuna.Trial) -> None:
        """Leave a trial to whoever claims the next: it is nobody's now."""
        trial.set_user_attr(_OWNER, None)

    def stop_search(self, search: str) -> None:
        """Tell the workers of a search, wherever they are, that it was interrupted."""
        self.set_user_attr(_STOPPED + search, True)

    def is_stopped(self, search: str) -> bool:
        """Whether a search was interrupted."""
        return _STOPPED + search in self.user_attrs

    def lost(self) -> list[FrozenTrial]:
        """The trials that run no more, though nobody has said so.

        Machines that share a database know of each other by heartbeats alone. What is in a folder
        is run by this machine, by one search at a time.
        """
        running = [t for t in self.get_trials(deepcopy=False) if t.state == TrialState.RUNNING]
        owners = {trial.number: trial.user_attrs.get(_OWNER) for trial in running}
        if self._heart:
            stale = set(self._heart._get_stale_trial_ids(self._study_id))
            return [t for t in running if t._trial_id in stale or not owners[t.number]]
        return [
            trial
            for trial in running
            if not (owner := owners[trial.number])
            or owner["process.host"] != process.HOST
            or not process.is_alive(owner)
        ]

    @property
    def _heart(self) -> BaseHeartbeat | None:
        """The storage, where it keeps heartbeats."""
        storage = self._storage
        return storage if isinstance(storage, BaseHeartbeat) else None


@dataclass(frozen=True)
class Store:
    """Where a study is kept, with the lock of its trials.

    Attributes:
        folder: of the search, in which the study is, too, where it is this machine's alone.
        name: of the study.
        database: a PostgreSQL address, where machines share the study; else "".
    """

    folder: Path
    name: str
    database: str = ""

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """Held while trials begin and end; its holder's death frees it."""
        if self.database:
            return _database_lock(self.database, f"study {self.name}")
        return FileLock(self.folder / "trials.lock", is_singleton=True)

    def open(self) -> Study:
        """Open the study.

        Raises:
            KeyError: when there is none.
        """
        return Study(self.name, self._storage())

    def create(self, direction: Literal["minimize", "maximize"]) -> Study:
        """Open the study, or begin it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # All studies of a database share its tables, which the first one makes.
        with _database_lock(self.database, "tables") if self.database else self.lock:
            self._mend()
            storage = self._storage()
            optuna.create_study(
                study_name=self.name, storage=storage, direction=direction, load_if_exists=True
            )
        return Study(self.name, storage)

    def _storage(self) -> JournalStorage | RDBStorage:
        if self.database:
            with warnings.catch_warnings():  # it calls heartbeats experimental
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                return RDBStorage(
                    self.database,
                    engine_kwargs=_ENGINE,
                    heartbeat_interval=_HEARTBEAT,
                    grace_period=_GRACE,
                )
        return JournalStorage(JournalFileBackend(str(self._journal), self._journal_lock()))

    def _mend(self) -> None:
        """Take off the line that the power failed in the middle of."""
        if self._journal.exists():
            with self._journal_lock():
                content = self._journal.read_bytes()
                if not content.endswith(b"\n"):
                    os.truncate(self._journal, content.rfind(b"\n") + 1)

    @property
    def _journal(self) -> Path:
        return self.folder / "journal"

    def _journal_lock(self) -> Any:
        # The system frees this one when its holder dies; Optuna's own would be waited for.
        return FileLock(self.folder / "journal.lock")


@cache
def _engine(database: str) -> "Engine":
    from sqlalchemy import create_engine

    return create_engine(database, **_ENGINE)


@contextmanager
def _database_lock(database: str, name: str) -> Iterator[None]:
    """Hold what one process of all machines can hold; the server takes it from a dead one."""
    from sqlalchemy import func, select

    with _engine(database).begin() as connection:
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(name))))
        yield


@contextmanager
def explained() -> Iterator[None]:
    """Turn what a database raises, or the lack of its driver, into one line."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, ImportError) as error:
        raise UserError(f"launcher.storage: {one_line(error)}") from None
    except optuna.exceptions.StorageInternalError as error:  # Optuna's word for the former
        raise UserError(f"launcher.storage: {one_line(error.__cause__ or error)}") from None


def claim(
    store: Store, study: Study, space: Space, sweep: Sweep, search: str = ""
) -> optuna.Trial | None:
    """Begin a trial that no other has begun, its parameters chosen and its overrides noted.

    While those that are left are run by others it waits: one of them may yet be lost.

    Returns:
        None when enough have ended, or the search of this id was interrupted.
    """
    while not study.is_stopped(search):
        with store.lock:
            requeue_lost(study)
            if len(counted(study)) >= total(space, sweep) or hopeless(study, sweep):
                return None
            if trial := _begin(study, space, sweep):
                return trial
        time.sleep(1)
    return None


def _begin(study: Study, space: Space, sweep: Sweep) -> optuna.Trial | None:
    """Begin a trial, unless there are enough, those included that others run."""
    repeated = 0
    while len(counted(study, running=True)) < total(space, sweep):
        every = study.get_trials(deepcopy=False)
        study.sampler, study.pruner = strategy(sweep, len(every))
        if repeated > _MAX_REPEATED:
            # A model of what was good asks for it again and again where it has no other value near.
            study.sampler = optuna.samplers.RandomSampler(_seed(sweep.sampler, len(every)))
        trial = study.begin()
        try:
            overrides = space.overrides(partial(Parameter.suggest, trial=trial))
        except Exception:  # what it has of parameters is not to be tried again
            trial.set_user_attr(VOID, "it has no parameters")
            study.tell(trial, state=TrialState.FAIL)
            raise
        known = {_key(_params(t)) for t in every if t.number != trial.number and not _void(t)}
        if _key(trial.params) not in known:
            trial.set_user_attr(OVERRIDES, overrides)
            return trial
        repeated += 1
        trial.set_user_attr(VOID, "its parameters are those of another")
        study.tell(trial, state=TrialState.FAIL)
        if space.combinations:
            untried = [p for p in space.combinations if _key(p) not in known]
            study.enqueue_trial(untried[trial.number % len(untried)])
    return None


def requeue_lost(study: Study) -> None:
    """Void the trials whose process is dead, and queue their parameters, once each.

    To be called under the study's lock: who begins a trial holds it, so that one that is nobody's
    has lost its process too.
    """
    queued = {trial.user_attrs.get(_AGAIN) for trial in study.get_trials(deepcopy=False)}
    for trial in study.lost():
        losses = trial.user_attrs.get(_LOSSES, 0) + 1
        with suppress(optuna.exceptions.UpdateFinishedTrialError):  # not dead, and done just now
            if losses > _MAX_LOSSES:
                study.mark(trial, FAILURE, f"its process died {losses} times: out of memory?")
            else:
                params = _params(trial)
                # First queued, then void: a kill between the two loses nothing, and this is seen.
                if params and trial.number not in queued:
                    study.add_trial(
                        optuna.create_trial(
                            state=TrialState.WAITING,
                            system_attrs={**trial.system_attrs, "fixed_params": params},
                            user_attrs={_AGAIN: trial.number, _LOSSES: losses},
                        )
                    )
                study.mark(trial, VOID, LOST)
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)


def total(space: Space, sweep: Sweep) -> int:
    """How many trials there will be: a finite space, or grid, has no more than its combinations."""
    grid = sweep.sampler.get("search_space", {})  # GridSampler's
    sizes = [len(space.combinations or ()), math.prod(map(len, grid.values())) if grid else 0]
    return min([sweep.trials, *filter(None, sizes)])


def counted(study: Study, running: bool = False) -> list[FrozenTrial]:
    """The trials that have ended and count, or also those that run."""
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if not _void(trial)
        and (trial.state.is_finished() or (running and trial.state == TrialState.RUNNING))
    ]


def failed(study: Study) -> list[FrozenTrial]:
    """The trials that failed by themselves."""
    return [trial for trial in counted(study) if trial.state == TrialState.FAIL]


def best(study: Study) -> FrozenTrial | None:
    """The best trial; None where none is complete."""
    try:
        return study.best_trial
    except ValueError:
        return None


def hopeless(study: Study, sweep: Sweep) -> bool:
    """Whether too large a share of the trials has failed."""
    failures, ended = len(failed(study)), len(counted(study))
    too_early = failures < _MIN_FAILURES and ended < sweep.trials and sweep.max_failed_fraction
    return not too_early and failures > sweep.max_failed_fraction * ended


def strategy(
    sweep: Sweep, number: int
) -> tuple[optuna.samplers.BaseSampler, optuna.pruners.BasePruner]:
    """The sampler and the pruner, as at the beginning of a trial.

    The sampler's seed is another for each: a search that goes on, and another worker, would draw
    the same numbers again.

    Raises:
        UserError: when one of the two cannot be made.
    """
    given = _reseeded(sweep.sampler, number)
    sampler = _instantiate("sampler", given, optuna.samplers.BaseSampler)
    return sampler, _instantiate("pruner", sweep.pruner, optuna.pruners.BasePruner)


def _reseeded(section: dict[str, Any], number: int) -> dict[str, Any]:
    """A sampler's settings, and those of the samplers in it, with seeds for one trial."""
    given = {k: _reseeded(v, number) if isinstance(v, dict) else v for k, v in section.items()}
    kind = str(section.get("_target_", "")).rpartition(".")[2]
    # These two go by what they wrote into the study, under one seed.
    if kind == "QMCSampler":
        # By this it draws the parameters that only some trials have.
        independent = {"_target_": "optuna.samplers.RandomSampler", "seed": _seed(section, number)}
        given = {"independent_sampler": independent, "warn_independent_sampling": False, **given}
    elif "seed" in section and kind != "GridSampler":
        given["seed"] = _seed(section, number)
    return given


def _seed(section: dict[str, Any], number: int) -> int:
    text = f"{section.get('seed', 0)} {number}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])


def rehearse(space: Space, sweep: Sweep) -> None:
    """Choose and prune the first trials of a search, with invented results and without a trace.

    Some samplers refuse a space, or lack a package, only after the trials that they begin with.

    Raises:
        UserError: when the sampler or the pruner cannot do what the search asks of it.
    """
    storage = InMemoryStorage()
    optuna.create_study(study_name=sweep.name, storage=storage, direction=sweep.direction)
    study = Study(sweep.name, storage)
    begins_with = sweep.sampler.get("n_startup_trials")
    count = (begins_with if isinstance(begins_with, int) else _STARTUP_TRIALS) + 2
    for number in range(min(sweep.trials, count)):
        study.sampler, study.pruner = strategy(sweep, number)
        with _refusing("sampler"):
            trial = study.ask()
            space.overrides(partial(Parameter.suggest, trial=trial))
        with _refusing("pruner"):
            trial.report(float(number), 1)
            trial.should_prune()
        with _refusing("sampler"):
            study.tell(trial, float(number))


@contextmanager
def _refusing(part: str) -> Iterator[None]:
    """Turn whatever a part of a search raises into one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        raise UserError(f"sweep.{part}: {one_line(error)}") from None


def _instantiate(name: str, section: dict[str, Any], kind: Any) -> Any:
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            made = instantiate(section, _convert_="all")
    except InstantiationException as error:
        raise UserError(f"sweep.{name}: {one_line(error)}") from None
    if not isinstance(made, kind):
        raise UserError(f"sweep.{name}: {section['_target_']} is no {kind.__name__[4:].lower()}")
    return made


def _void(trial: FrozenTrial) -> bool:
    return VOID in trial.user_attrs


def _params(trial: FrozenTrial) -> Params:
    """A trial's parameters, those included that a waiting one will have."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}


def _key(params: Params) -> Sequence[Any]:
    """What is equal for equal parameters: steps of 0.1 add up in more than one way."""
    rounded = {k: f"{v:.12g}" if isinstance(v, float) else v for k, v in params.items()}
    return tuple(sorted(rounded.items()))
