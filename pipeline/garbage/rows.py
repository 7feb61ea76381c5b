"""The rows of the local MLflow store, and which of them are garbage."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.request import url2pathname

from mlflow.entities import LoggedModelStatus

from pipeline.garbage.names import ids_in, named_ids
from pipeline.system import process
from pipeline.system.errors import UserError
from pipeline.system.process import State
from pipeline.tracking.tags import TRAINING_ID

_DEFAULT_EXPERIMENT = "0"  # MLflow needs it


@dataclass(frozen=True)
class Rows:
    """The rows of a store, by id and column, and what names them.

    Attributes:
        artifacts: the folder mlruns/ of the project.
        runs: the runs.
        models: the logged models.
        experiments: the experiments.
        trainings: the ids of the runs of each training, by the name of its folder of checkpoints.
        used: ids of runs and models that registered models, git, DVC or sweeps name.
        alive: the ids of the runs whose process may be running.
    """

    artifacts: Path
    runs: dict[str, Any]
    models: dict[str, Any]
    experiments: dict[str, Any]
    trainings: dict[str, list[str]]
    used: set[str]
    alive: set[str]

    def folder(self, key: str) -> Path | None:
        """The folder of a run or a model in mlruns/. None if its artifacts are elsewhere.

        They are elsewhere on a server, and in the original of a project that was copied.
        """
        row = self.runs.get(key) or self.models[key]
        location = row["artifact_uri" if key in self.runs else "artifact_location"]
        if location.startswith("file://"):
            location = url2pathname(location.removeprefix("file://"))
        folder = Path(location).parent
        return folder if folder.is_relative_to(self.artifacts) and folder.name == key else None

    @cached_property
    def deleted_runs(self) -> set[str]:
        """The runs in MLflow's state `deleted`, which its page does not show."""
        return {key for key, run in self.runs.items() if run["lifecycle_stage"] == "deleted"}

    @cached_property
    def garbage_runs(self) -> set[str]:
        """The deleted runs, unless they or their models are used."""
        kept = self.used | self.alive
        kept |= {self.models[key]["source_run_id"] for key in self.models.keys() & self.used}
        runs = self.deleted_runs - kept
        return {key for key in runs if self.folder(key)}

    @cached_property
    def garbage_models(self) -> set[str]:
        """The logged models that are deleted, whose run has gone, or which it left incomplete.

        One that never had a run is a user's own: nobody knows whether it is still being written.
        """
        runs = self.runs.keys() - self.garbage_runs
        return {
            key
            for key, model in self.models.items()
            if key not in self.used and model["source_run_id"] not in self.alive
            if model["lifecycle_stage"] == "deleted"
            or (
                model["source_run_id"]
                and (
                    model["source_run_id"] not in runs
                    or model["status"] != LoggedModelStatus.READY.to_int()
                )
            )
            if self.folder(key)
        }

    @cached_property
    def garbage_experiments(self) -> set[str]:
        """The deleted experiments of which no run and no model stays."""
        kept = {
            str(self.runs[key]["experiment_id"]) for key in self.runs.keys() - self.garbage_runs
        }
        models = self.models.keys() - self.garbage_models
        kept |= {str(self.models[key]["experiment_id"]) for key in models} | {_DEFAULT_EXPERIMENT}
        return {
            key
            for key, experiment in self.experiments.items()
            if experiment["lifecycle_stage"] == "deleted" and key not in kept
        }


def read_rows(root: Path) -> Rows:
    """Read mlflow.db, without changing it, and what names its runs and models.

    Args:
        root: the root of the repository.

    Raises:
        UserError: when it cannot be read.
    """
    with _open(root / "mlflow.db") as store:
        runs = _by_id(store, "SELECT * FROM runs")
        models = _by_id(store, "SELECT * FROM logged_models")
        experiments = _by_id(store, "SELECT * FROM experiments")
        versions = store.execute("SELECT source, run_id, storage_location FROM model_versions")
        registered = ids_in("\n".join(str(value) for version in versions for value in version))
        running = [key for key, run in runs.items() if run["status"] == "RUNNING"]
        alive = {key for key in running if _is_alive(store, key)}
        trainings: dict[str, list[str]] = {}
        for row in store.execute("SELECT * FROM tags WHERE key = ?", (TRAINING_ID,)):
            trainings.setdefault(row["value"], []).append(row["run_uuid"])
    used = registered | named_ids(root)
    return Rows(root / "mlruns", runs, models, experiments, trainings, used, alive)


@contextmanager
def _open(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database for reading. Its errors become a `UserError`."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=60)) as store:
            store.row_factory = sqlite3.Row
            yield store
    except sqlite3.Error as error:
        raise UserError(f"{path} cannot be read: {error}") from None


def _by_id(store: sqlite3.Connection, query: str) -> dict[str, Any]:
    """The rows of a table by their first column, which is the id."""
    return {str(row[0]): row for row in store.execute(query)}


def _is_alive(store: sqlite3.Connection, run: str) -> bool:
    """Whether the process of a run may be running. On another machine, nobody knows."""
    found = store.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (run,))
    tags = {row["key"]: row["value"] for row in found}
    if "process.id" not in tags:  # no run of this project
        return False
    return process.state_of(tags) is not State.DEAD
