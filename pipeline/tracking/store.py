"""The MLflow store: `sqlite:///mlflow.db` at the repository root, or MLFLOW_TRACKING_URI."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import mlflow
from filelock import FileLock
from mlflow.entities import RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from pipeline.config.paths import repository_root
from pipeline.system.errors import UserError, one_line
from pipeline.tracking.sqlite_store import (
    artifacts_of,
    create_store,
    lock_of,
    mend_store,
    sqlite_path,
    sqlite_uri,
)
from pipeline.tracking.views import install_views

CATCH_UP = "When the store is back, `make track` completes the run."


class TrackingUnavailableError(UserError):
    """The store does not answer. What could not be logged can be logged later."""


def use_store() -> None:
    """Point MLflow at the store. If it is an SQLite file, mend it first; see `mend_store`."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    # This logger prints a traceback for each error, which MLflow also raises.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    mlflow.set_tracking_uri(_store_uri())
    if (path := sqlite_path(mlflow.get_tracking_uri())) and path.exists():
        with mlflow_errors():
            mend_store(path)


def connect(experiment: str) -> None:
    """Point MLflow at the store and the experiment; create both if they are missing.

    Raises:
        TrackingUnavailableError: when the store does not answer.
        UserError: when the store cannot be read, or the experiment is deleted.
    """
    use_store()
    with mlflow_errors():
        if path := sqlite_path(mlflow.get_tracking_uri()):
            # MLflow's migrations crash if several processes use a new database at once.
            with lock_of(path):
                create_store(path)
                if mlflow.get_experiment_by_name(experiment) is None:
                    mlflow.create_experiment(experiment, artifacts_of(path).as_uri())
        # Creates the experiment if it is missing. Safe if several machines do so at once.
        install_views(mlflow.set_experiment(experiment))


def has_store() -> bool:
    """Whether there is a store. MLflow would create an SQLite file if it only looked into it."""
    path = sqlite_path(mlflow.get_tracking_uri())
    return path is None or path.exists()


def is_local_store() -> bool:
    """Whether the store is the one at the repository root."""
    return sqlite_path(mlflow.get_tracking_uri()) == repository_root() / "mlflow.db"


@contextmanager
def mlflow_errors() -> Iterator[None]:
    """Turn the errors of MLflow and its database into a `UserError` of one line."""
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        temporary = (
            error.error_code in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE")
            if isinstance(error, MlflowException)
            else isinstance(error, OperationalError | OSError)
        )
        kind = TrackingUnavailableError if temporary else UserError
        reason = one_line(error)[:600]
        raise kind(f"MLflow store {mlflow.get_tracking_uri()}: {reason}") from error


def store_lock() -> FileLock:
    """A lock between the processes of this repository that use the store."""
    folder = repository_root() / ".dvc" / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / "mlflow.lock", is_singleton=True)


def set_tags(run_id: str, tags: dict[str, str]) -> None:
    """Set tags of a run. Unlike `set_tag`, this is safe if several processes set the same tag."""
    batch = [RunTag(key, value) for key, value in tags.items()]
    mlflow.MlflowClient().log_batch(run_id, tags=batch)


def _store_uri() -> str:
    """The address of the store.

    A relative path in MLFLOW_TRACKING_URI is below the real repository. The working directory may
    be a clone, which DVC removes after an experiment.
    """
    root = repository_root()
    uri = os.environ.get("MLFLOW_TRACKING_URI", "") or sqlite_uri(root / "mlflow.db")
    if path := sqlite_path(uri):
        return sqlite_uri(root / path)
    scheme, colon, rest = uri.partition(":")
    if not colon and uri != "databricks":
        return str(root / uri)
    return str(root / rest) if scheme == "file" and not rest.startswith("/") else uri
