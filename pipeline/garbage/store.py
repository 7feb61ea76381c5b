"""Garbage in the local MLflow store: rows and their artifacts, and artifacts without a row.

`mlflow gc` (3.17) also removes what a version of a registered model uses, and leaves logged models
and folders behind. So this module calls the methods that `mlflow gc` calls, for listed ids only.
"""

import time
from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path

from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from pipeline.garbage.items import Item, file_item, half_removed, remove_path, size_of
from pipeline.garbage.names import ids_in
from pipeline.garbage.rows import Rows, read_rows
from pipeline.tracking.store import mlflow_errors, store_lock

RUNS = "runs deleted in MLflow"
MODELS = "logged models without a run, deleted or unfinished"
EXPERIMENTS = "experiments deleted in MLflow"
ARTIFACTS = "artifacts of no run and no logged model"
_FRESH = 10.0  # seconds after which the rows are read again


def store_garbage(root: Path, uri: str) -> tuple[list[Item], Rows]:
    """The garbage in the local store, in the order in which it can be removed.

    Args:
        root: the root of the repository.
        uri: the address of the store, `sqlite:///<root>/mlflow.db`.

    Returns:
        The garbage, and the rows among which it was found.

    Raises:
        UserError: when the store cannot be read.
    """
    artifacts = root / "mlruns"
    # Before the rows are read: a run and a model have a row before they have a folder.
    folders = [*_folders(artifacts), *_folders(artifacts / "models")]
    rows = read_rows(root)
    named = rows.runs.keys() | rows.models.keys() | rows.used
    items = [
        *_rows_as_items(rows, _Remover(root, uri), artifacts),
        *(file_item(ARTIFACTS, path, root) for path in folders if path.name not in named),
        *half_removed((artifacts, artifacts / "models"), root),
    ]
    return items, rows


def kept_runs(rows: Rows) -> list[str]:
    """Why runs stay although they are deleted, in a line each."""
    return [
        f"run {run} is deleted, but "
        + (
            "its process may be running"
            if run in rows.alive
            else "a registered model, a commit or a sweep uses it"
        )
        for run in sorted(rows.deleted_runs - rows.garbage_runs)
    ]


def _rows_as_items(rows: Rows, remover: "_Remover", artifacts: Path) -> Iterator[Item]:
    for model in sorted(rows.garbage_models):
        name, size = rows.models[model]["name"], size_of(artifacts / "models" / model)
        yield Item(MODELS, f"{model} {name}", size, partial(remover.remove_model, model))
    for run in sorted(rows.garbage_runs):
        name, size = rows.runs[run]["name"], size_of(artifacts / run)
        yield Item(RUNS, f"{run} {name}", size, partial(remover.remove_run, run))
    for experiment in sorted(rows.garbage_experiments):
        name = rows.experiments[experiment]["name"]
        remove = partial(remover.remove_experiment, experiment)
        yield Item(EXPERIMENTS, f"{experiment} {name}", 0, remove)


class _Remover:
    """Removes rows and their artifacts, after it has looked again whether they are garbage.

    It only removes folders of this project. The rows of a project that was copied or moved may name
    others.
    """

    def __init__(self, root: Path, uri: str) -> None:
        self._root, self._uri = root, uri
        self._rows: Rows | None = None
        self._read_at = 0.0

    @cached_property
    def _store(self) -> SqlAlchemyStore:
        return SqlAlchemyStore(self._uri, (self._root / "mlruns").as_uri())

    def _now(self) -> Rows:
        if self._rows is None or time.monotonic() - self._read_at > _FRESH:
            self._rows, self._read_at = read_rows(self._root), time.monotonic()
        return self._rows

    # Artifacts go first: after a kill, the row still names what is left of them.
    def remove_model(self, model: str) -> None:
        with mlflow_errors(), store_lock():
            if model in self._now().garbage_models:
                remove_path(self._root / "mlruns" / "models" / model)
                self._store._hard_delete_logged_model(model)

    def remove_run(self, run: str) -> None:
        with mlflow_errors(), store_lock():
            # A run can be restored in MLflow at any moment.
            if run in self._now().garbage_runs and self._is_deleted(run):
                remove_path(self._root / "mlruns" / run)
                self._store._hard_delete_run(run)

    def remove_experiment(self, experiment: str) -> None:
        with mlflow_errors(), store_lock():
            if experiment in self._now().garbage_experiments:
                self._store._hard_delete_experiment(experiment)

    def _is_deleted(self, run: str) -> bool:
        return str(self._store.get_run(run).info.lifecycle_stage) == "deleted"


def _folders(parent: Path) -> list[Path]:
    """The folders of runs or logged models. Some are empty: MLflow leaves them so."""
    if not parent.is_dir():
        return []
    return [
        child
        for child in sorted(parent.iterdir())
        if child.is_dir() and not child.is_symlink() and not child.name.startswith(".")
        if (child / "artifacts").is_dir() or ids_in(child.name)
    ]
