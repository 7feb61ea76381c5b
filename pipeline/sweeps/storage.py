"""The Optuna study of a sweep: where it is kept, and the locks of its running trials."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.exceptions import OptunaError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from pipeline.config.schema import Direction
from pipeline.sweeps.locks import (
    ENGINE_SETTINGS,
    DatabaseTrialLock,
    FileTrialLock,
    JournalLock,
    TrialLock,
    database_lock,
    engine,
)
from pipeline.sweeps.trials import HOST, PROCESS, SETTINGS, TAKEN_OVER
from pipeline.system import process
from pipeline.system.errors import UserError, describe_error, nearest, one_line

_STOPPED = "stopped "  # prefix of a study attribute; the id of the interrupted session follows


@dataclass(frozen=True)
class Store:
    """Where a study is kept.

    Attributes:
        folder: the folder of the sweep. It also holds the study, unless that is in a database.
        name: the name of the study.
        database: a PostgreSQL address if machines share the study, else "".
    """

    folder: Path
    name: str
    database: str = ""

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """The lock of the study, held while a trial starts or ends."""
        if self.database:
            return database_lock(self.database, f"study {self.name}")
        return FileLock(self.folder / "trials.lock", is_singleton=True)

    def trial_lock(self, number: int) -> TrialLock:
        """The lock of a trial, held by the worker that runs it."""
        if self.database:
            return DatabaseTrialLock(self.database, self.name, number)
        return FileTrialLock(self.folder / "locks" / f"{number}.lock")

    def open(self) -> "Study":
        """Open the study.

        Raises:
            KeyError: when it does not exist.
        """
        return Study(self, self._storage())

    def create(self, *directions: Direction) -> "Study":
        """Open the study; create it with these directions of its objectives if it is missing.

        A study that has not started, because an error or a kill came first, is replaced if it has
        other directions.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        # All studies of a database share its tables, which the first one creates.
        with database_lock(self.database, "tables") if self.database else self.lock:
            self._truncate_partial_line()
            storage = self._storage()
            with self._journal_errors():
                create = partial(optuna.create_study, storage=storage, directions=directions)
                study = create(study_name=self.name, load_if_exists=True)
                wanted = [direction.upper() for direction in directions]
                differs = [direction.name for direction in study.directions] != wanted
                if differs and SETTINGS not in study.user_attrs:
                    optuna.delete_study(study_name=self.name, storage=storage)
                    create(study_name=self.name)
        return Study(self, storage)

    def _storage(self) -> BaseStorage:
        if self.database:
            engine(self.database)  # its errors are clearer
            return RDBStorage(self.database, engine_kwargs=ENGINE_SETTINGS)
        with self._journal_errors():
            return JournalStorage(JournalFileBackend(str(self._journal), self._journal_lock))

    @contextmanager
    def _journal_errors(self) -> Iterator[None]:
        """Turn the errors of a journal into a `UserError` of one line."""
        try:
            yield
        # A line is not JSON, is missing, or has other values.
        except (
            *(IsADirectoryError, ValueError, LookupError, TypeError, AttributeError),
            *(AssertionError, OptunaError),
        ) as error:
            if self.database:
                raise
            raise self.damaged(describe_error(error)) from None
        except OSError as error:  # a full disk, a folder without permission
            if self.database:
                raise
            raise UserError(f"{self._journal}: {one_line(error)}") from None

    def damaged(self, reason: str) -> UserError:
        """The error for a journal that cannot be read."""
        return UserError(
            f"{self._journal} is damaged: {reason[:200]}. Its trials are in MLflow. To start a "
            f"new sweep, move the folder away: mv {self.folder} {self.folder}.damaged"
        )

    def _truncate_partial_line(self) -> None:
        """Truncate a partial last line, which a power failure may leave."""
        if not self._journal.exists():
            return
        lock = self._journal_lock
        lock.acquire()
        try:
            with self._journal_errors():
                content = self._journal.read_bytes()
                if not content.endswith(b"\n"):
                    os.truncate(self._journal, content.rfind(b"\n") + 1)
        finally:
            lock.release()

    @property
    def _journal(self) -> Path:
        return self.folder / "journal"

    @property
    def _journal_lock(self) -> JournalLock:
        return JournalLock(self.folder / "journal.lock")


class AskTellStudy(optuna.Study):
    """An Optuna study driven by ask and tell instead of `optimize`."""

    def stop(self) -> None:
        """Do nothing. Exhausted samplers call it, and Optuna's own raises outside `optimize`."""


class Study(AskTellStudy):
    """The study of a sweep, and the trials that this process runs.

    A worker holds the lock of the trial that it runs. A running trial whose lock is free is stale.
    """

    def __init__(self, store: Store, storage: BaseStorage) -> None:
        super().__init__(store.name, storage)
        self.store = store
        self.storage = storage
        self._held: dict[int, TrialLock] = {}

    def set_attribute(self, trial: FrozenTrial, key: str, value: str) -> None:
        """Set a user attribute of a trial that another process ran."""
        study_id = self.storage.get_study_id_from_name(self.study_name)
        trial_id = self.storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
        self.storage.set_trial_user_attr(trial_id, key, value)

    def start(self) -> optuna.Trial:
        """Ask for a trial, and take its lock. Call it under the study's lock."""
        trial = self.ask()
        lock = self.store.trial_lock(trial.number)
        if not lock.try_acquire():
            raise RuntimeError(f"another process holds the lock of the new trial {trial.number}")
        self._held[trial.number] = lock
        trial.set_user_attr(HOST, process.HOST)
        trial.set_user_attr(PROCESS, os.getpid())
        return trial

    def release(self, trial: optuna.Trial) -> None:
        """Free the lock of a trial. If its state is still RUNNING, the next worker restarts it."""
        if lock := self._held.pop(trial.number, None):
            lock.release()

    def stale(self) -> list[FrozenTrial]:
        """The running trials whose worker is dead. Call it under the study's lock."""
        running = self.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return [trial for trial in running if self._is_free(trial.number)]

    def stop_session(self, session: str) -> None:
        """Tell the workers of a session, on all machines, that it was interrupted."""
        self.set_user_attr(_STOPPED + session, True)

    def is_stopped(self, session: str) -> bool:
        """Whether a session was interrupted."""
        return _STOPPED + session in self.user_attrs

    def _is_free(self, number: int) -> bool:
        lock = self.store.trial_lock(number)
        free = lock.try_acquire()
        if free:
            lock.release()
        return free


def find_study(folder: Path, name: str, database: str = "") -> Study:
    """Open a study that has been started.

    Args:
        folder: the folder of its sweep.
        name: its name.
        database: a PostgreSQL address if it is in a database, else "".

    Raises:
        UserError: when it does not exist, has not been started, or cannot be read.
    """
    if not database and not (folder / "journal").exists():
        names = sorted(path.parent.name for path in folder.parent.glob("*/journal"))
        hint = nearest(name, names)
        if folder.is_dir():  # it has the results
            hint = (
                "; if it is in PostgreSQL: launcher.storage=ADDRESS, or promote --storage ADDRESS"
            )
        raise UserError(f"no study {name!r} in {folder.parent}{hint}")
    store = Store(folder, name, database)
    try:
        study = store.open()
    except KeyError:
        if not database:
            raise store.damaged("it has no study") from None
        raise UserError(f"no study {name!r} in the database") from None
    trials = study.get_trials(deepcopy=False)
    if SETTINGS not in study.user_attrs and not any(map(_has_run, trials)):
        raise UserError(f"the sweep {name} has not started yet: it has trained no trial")
    if missing := {SETTINGS, "base"} - study.user_attrs.keys():
        raise store.damaged(f"the study has no {' and no '.join(sorted(missing))}")
    return study


def _has_run(trial: FrozenTrial) -> bool:
    """Whether a trial was run in this study: it neither waits, nor is it of another study."""
    return trial.state != TrialState.WAITING and TAKEN_OVER not in trial.user_attrs


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn the errors of a database into a `UserError` of one line."""
    try:
        yield
    except SQLAlchemyError as error:
        raise UserError(f"launcher.storage: {one_line(error)}") from None
    except optuna.exceptions.StorageInternalError as error:  # wraps SQLAlchemy's
        raise UserError(f"launcher.storage: {one_line(error.__cause__ or error)}") from None
