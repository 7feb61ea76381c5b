"""What a run has recorded about its training."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Run

from pipeline.config.paths import COMPOSED
from pipeline.config.yaml_files import read_yaml
from pipeline.system.errors import UserError
from pipeline.tracking.changes import LEFT_OUT, PATCH
from pipeline.tracking.lookup import run_names, runs_named
from pipeline.tracking.store import mlflow_errors
from pipeline.tracking.tags import INIT_DIGEST, MODEL_DIGEST, PARENT_RUN
from pipeline.training.history import COLUMNS


@dataclass(frozen=True)
class Recorded:
    """A run, with what is needed to run its training again.

    Attributes:
        run: the MLflow run.
        config: its whole configuration, as composed.yaml has it.
        files: the folder of its artifacts.
        patch: its uncommitted changes; None if there were none.
    """

    run: Run
    config: dict[str, Any]
    files: Path
    patch: Path | None

    @property
    def tags(self) -> Mapping[str, str]:
        return self.run.data.tags

    @property
    def commit(self) -> str:
        return self.tags.get("mlflow.source.git.commit", "")

    @property
    def model_digest(self) -> str:
        """SHA-256 of the model file; "" for a trial of a sweep, which keeps no model."""
        return self.tags.get(MODEL_DIGEST, "")

    @property
    def init_digest(self) -> str:
        """SHA-256 of the model that the training started from; "" if there is none."""
        return self.tags.get(INIT_DIGEST, "")

    @property
    def lost_changes(self) -> str:
        """The changed files that the run did not keep; "" if it kept all."""
        if self.tags.get("git.dirty") == "true" and not (self.patch or self.tags.get(LEFT_OUT)):
            return "which ones is not known"
        return self.tags.get(LEFT_OUT, "")


def find_recorded(name: str, folder: Path) -> Recorded:
    """Find a run, and download its artifacts.

    Args:
        name: an id, a name, an alias or a model URI; see `runs_named`.
        folder: where to put the artifacts.

    Raises:
        UserError: when there is no such run, there are several, it is not a training, or it ended
            before its first epoch.
    """
    runs = runs_named(name)
    if not runs:
        near = ", ".join(difflib.get_close_matches(name, run_names(), n=5, cutoff=0))
        raise UserError(f"no MLflow run {name!r}" + (f"; the nearest: {near}" if near else ""))
    if len(runs) > 1:
        ids = ", ".join(run.info.run_id for run in runs)
        raise UserError(f"{len(runs)} runs are named {name!r}; give the id of one: {ids}")
    [run] = runs
    with mlflow_errors():
        files = _download(run.info.run_id, folder / "run")
        patch = files / PATCH
        # The trials of a sweep share the patch of its run.
        if not patch.exists() and run.data.tags.get("git.dirty") == "true":
            parent = run.data.tags.get(PARENT_RUN)
            patch = _download(parent, folder / "parent") / PATCH if parent else patch
    if not (files / COMPOSED).is_file():
        raise UserError(
            f"run {name} has no {COMPOSED}: only a training or a trial can be reproduced"
        )
    config = read_yaml(files / COMPOSED, "")
    found = Recorded(run, config, files, patch if _has_content(patch) else None)
    if not found.model_digest and run.data.metrics.keys().isdisjoint(COLUMNS):
        raise UserError(f"run {name} ended before its first epoch: there is nothing to compare")
    if not found.commit:
        raise UserError(f"run {name} has no commit: it was not started in a git repository")
    return found


def _has_content(patch: Path) -> bool:
    """Whether there are changes: an empty file stands for none."""
    return patch.is_file() and patch.stat().st_size > 0


def _download(run_id: str, folder: Path) -> Path:
    """Download the artifacts of a run, which may be none."""
    folder.mkdir()
    for artifact in mlflow.MlflowClient().list_artifacts(run_id):
        mlflow.artifacts.download_artifacts(
            run_id=run_id, artifact_path=artifact.path, dst_path=str(folder)
        )
    return folder
