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

CATCH_UP = "When the store is back, `make track` completes the run."


class TrackingUnavailableError(UserError):
    """The store does not answer. What could not be logged can be logged later."""


def use_store() -> None:
    """Point MLflow at the store."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    # This logger prints a traceback for each error, which MLflow also raises.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    if "MLFLOW_TRACKING_URI" not in os.environ:
        mlflow.set_tracking_uri(_local_store())


def connect(experiment: str) -> None:
    """Point MLflow at the store and the experiment; create both if they are missing.

    Raises:
        TrackingUnavailableError: when the store does not answer.
        UserError: when the store cannot be read, or the experiment is deleted.
    """
    use_store()
    # MLflow's migrations crash if several processes use a new database at once.
    with mlflow_errors(), store_lock():
        if mlflow.get_tracking_uri() == _local_store():
            _create_local_store(experiment)
        # Creates the experiment if it is missing. Safe if several machines do so at once.
        mlflow.set_experiment(experiment)


def has_store() -> bool:
    """Whether there is a store. MLflow would create the local one if it only looked into it."""
    return not is_local_store() or (repository_root() / "mlflow.db").exists()


def is_local_store() -> bool:
    """Whether the store is the one at the repository root."""
    return mlflow.get_tracking_uri() == _local_store()


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


def _local_store() -> str:
    return f"sqlite:///{repository_root() / 'mlflow.db'}"


def _create_local_store(experiment: str) -> None:
    """Create mlflow.db and the experiment if they are missing.

    MLflow cannot open a database whose first migrations were interrupted. So the database is
    created under a temporary name, and renamed when it is complete.
    """
    store = repository_root() / "mlflow.db"
    if not store.exists():
        part = store.with_name(f".{store.name}.part")
        part.unlink(missing_ok=True)
        mlflow.MlflowClient(f"sqlite:///{part}").search_experiments(max_results=1)
        part.replace(store)
    if mlflow.get_experiment_by_name(experiment) is None:
        # The path is absolute, because the first run may be in a DVC experiment's temporary clone.
        mlflow.create_experiment(experiment, (repository_root() / "mlruns").as_uri())
