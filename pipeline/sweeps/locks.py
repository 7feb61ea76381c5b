"""Locks between the processes and machines that work on one study.

Each lock is freed when its holder dies: the kernel frees a file lock, and PostgreSQL frees an
advisory lock when its connection ends.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout
from optuna.storages.journal import JournalFileOpenLock
from sqlalchemy import Connection, Engine, create_engine, func, select

from pipeline.system.errors import UserError, one_line

# Without these settings, each side notices a cut connection only after 15 minutes or more. On the
# server, the cut connection may hold the lock that all other workers wait for. Keepalives detect a
# peer that is silent while we wait for it. The user timeout (ms) detects a peer that does not
# acknowledge what we sent.
_SERVER_SETTINGS = (
    "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=5 "
    "-c tcp_user_timeout=15000"
)
ENGINE_SETTINGS: dict[str, Any] = {
    "pool_pre_ping": True,
    "connect_args": {
        "connect_timeout": 10,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 5,
        "tcp_user_timeout": 15000,
        "options": _SERVER_SETTINGS,
    },
}


class TrialLock(Protocol):
    """A lock that the worker of a running trial holds."""

    def try_acquire(self) -> bool:
        """Take the lock; False when another process holds it."""
        ...

    def release(self) -> None:
        """Free the lock."""
        ...


class FileTrialLock:
    """A lock between the processes of one machine."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        self._lock = FileLock(path)

    def try_acquire(self) -> bool:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return False
        return True

    def release(self) -> None:
        self._lock.release()


class DatabaseTrialLock:
    """A PostgreSQL advisory lock. It uses a separate connection while it is held."""

    def __init__(self, database: str, study: str, number: int) -> None:
        self._database = database
        self._key = (func.hashtext(study), number)
        self._connection: Connection | None = None

    def try_acquire(self) -> bool:
        connection = (
            engine(self._database)
            .connect()
            .execution_options(
                isolation_level="AUTOCOMMIT"  # no transaction stays open during a training
            )
        )
        if connection.scalar(select(func.pg_try_advisory_lock(*self._key))):
            self._connection = connection
            return True
        connection.close()
        return False

    def release(self) -> None:
        if self._connection is not None:
            # Close the connection itself. Returned to the pool, it would keep the lock.
            self._connection.invalidate()
            self._connection.close()
            self._connection = None


class JournalLock(JournalFileOpenLock):
    """The lock of a journal file. Optuna's own lock is not freed when its holder dies."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._lock = FileLock(path)

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()


@contextmanager
def database_lock(database: str, name: str) -> Iterator[None]:
    """Hold a PostgreSQL advisory lock while the block runs."""
    with engine(database).begin() as connection:
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(name))))
        yield


@cache
def engine(database: str) -> Engine:
    """The SQLAlchemy engine of a database.

    Raises:
        UserError: when the driver of PostgreSQL is missing.
    """
    try:
        return create_engine(database, **ENGINE_SETTINGS)
    except ImportError as error:
        raise UserError(
            f"launcher.storage: {one_line(error)}: the driver of PostgreSQL is missing: "
            "make setup LOCK=requirements-cluster.txt"
        ) from None
