"""Exact-resume checkpoints: a resumed training gives the same bytes as an uninterrupted one.

The checkpoints of a training are in a folder of the real repository that DVC does not track,
because DVC deletes a stage's outputs before it runs the stage. The folder's name is a fingerprint
of everything that affects the result, so a different configuration never uses them.
"""

import hashlib
import io
import json
import logging
import os
import shutil
import time
import zipfile
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.config.paths import CHECKPOINTS, repository_root
from pipeline.config.schema import Config
from pipeline.config.stages import stage_code
from pipeline.data.splits import data_digest
from pipeline.system.determinism import gpus
from pipeline.system.environment import FIXED, ONEDNN
from pipeline.system.errors import UserError
from pipeline.system.files import atomic_write, sha256, write_text
from pipeline.system.processor import cpu, usable_cores
from pipeline.system.versions import library_versions
from pipeline.training.history import Row

Arrays = list[NDArray[Any]]

_KEPT = 2  # the newest, and the one before it in case the newest is damaged
# The time between two checkpoints is at least this many times the time to write one. So checkpoints
# take less than 3 % of a training.
_COST_RATIO = 40
_FINISHED = "finished"  # the file with the digest of the model, in the folder of a training


@dataclass(frozen=True)
class State:
    """A training at the end of an epoch.

    Attributes:
        history: the metrics of each epoch.
        variables: all variables of the model, including the seeds of dropout.
        optimizer: all variables of the optimizer, including its step count.
        best: the model's weights at its best epoch.
    """

    history: list[Row]
    variables: Arrays
    optimizer: Arrays
    best: Arrays


class Checkpoints:
    """The checkpoints of one training, newest last."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`, which is created by the first write."""
        self.folder = folder
        self._saved_at = time.monotonic()
        self._cost = 0.0

    @classmethod
    def of(
        cls,
        cfg: Config,
        prepared: Path,
        folder: str | Path = CHECKPOINTS,
    ) -> Self:
        """The checkpoints of a training.

        Args:
            cfg: the configuration of the training.
            prepared: folder of the prepared data.
            folder: the folder of all checkpoints, below the repository.
        """
        return cls(repository_root() / folder / fingerprint(cfg, prepared)[:32])

    @property
    def id(self) -> str:
        """The id of the training, which is the name of its folder."""
        return self.folder.name

    def save(self, state: State, last: bool) -> None:
        """Write a checkpoint if it is the last, or if enough time has passed since the previous."""
        started = time.monotonic()
        if not last and started - self._saved_at < _COST_RATIO * self._cost:
            return
        header = np.frombuffer(json.dumps(state.history).encode(), np.uint8)
        arrays = {"history": header}
        for name in ("variables", "optimizer", "best"):
            for i, array in enumerate(getattr(state, name)):
                arrays[f"{name}.{i:04}"] = np.asarray(array)
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **arrays)
        with atomic_write(self.folder / f"epoch-{len(state.history):06}") as file:
            file.write(hashlib.sha256(content.getbuffer()).digest())
            file.write(content.getbuffer())
        for old in self._paths()[:-_KEPT]:
            old.unlink(missing_ok=True)  # another process may run the same training
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - started

    def load(self) -> State | None:
        """Load the newest undamaged checkpoint, if any.

        Rename damaged ones, folders and links to nothing, with a warning: they would be in the way
        of new ones.
        """
        self._check_folder()
        for path in self._paths():
            if not path.is_file():
                _set_aside(path)
        for path in reversed(self._paths()):
            try:
                return _parse(path.read_bytes())
            # The file cannot be read, or it has other content than `save` wrote.
            except (OSError, ValueError, LookupError, zipfile.BadZipFile):
                _set_aside(path)
        return None

    def remove(self) -> None:
        """Remove all checkpoints."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def finish(self, model: str) -> None:
        """Mark the training as finished, so that `remove_finished` may remove its checkpoints.

        Args:
            model: SHA-256 of the model file, in hexadecimal.
        """
        write_text(self.folder / _FINISHED, model)

    def _check_folder(self) -> None:
        """Raise UserError when the folder could not be created or read."""
        for folder in (self.folder.parent, self.folder):
            if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
                raise UserError(f"{folder} must be a folder of checkpoints: remove it")
            if folder.is_dir() and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
                raise UserError(f"{folder} cannot be read or written: run `chmod u+rwx {folder}`")

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("epoch-*"))


def _set_aside(path: Path) -> None:
    """Rename a damaged checkpoint, and say so."""
    aside = path.with_name(f"damaged-{path.name}")
    for number in count(2):
        if not aside.exists() and not aside.is_symlink():
            break
        aside = path.with_name(f"damaged-{path.name}-{number}")
    path.replace(aside)
    logging.warning("a checkpoint is damaged; it is kept as %s", aside)


def _parse(content: bytes) -> State:
    """The state that `save` wrote as bytes. ValueError if its digest is another."""
    if hashlib.sha256(content[32:]).digest() != content[:32]:
        raise ValueError("the digest differs")
    content = content[32:]
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return State(
        json.loads(arrays["history"].tobytes()),
        *(
            [arrays[name] for name in sorted(arrays) if name.startswith(f"{part}.")]
            for part in ("variables", "optimizer", "best")
        ),
    )


def remove_finished(model: str) -> None:
    """Remove the checkpoints of the training that gave a model.

    Args:
        model: SHA-256 of the model file, in hexadecimal.

    `evaluate` calls this, not `train`. If `train` is killed before DVC has recorded its outputs,
    DVC runs it again. The last checkpoint then saves the work, and the same MLflow run is resumed.
    """
    for marker in (repository_root() / CHECKPOINTS).glob(f"*/{_FINISHED}"):
        if marker.read_text() == model:
            shutil.rmtree(marker.parent, ignore_errors=True)


def fingerprint(cfg: Config, prepared: Path) -> str:
    """SHA-256, in hexadecimal, of everything that affects the result of a training."""
    values = cfg.model_dump()
    content = {
        **{section: values[section] for section in ("model", "augment", "optimizer", "schedule")},
        # The content of the initial model, not its URI.
        "train": {**values["train"], "init_from": cfg.initial_model},
        "data": data_digest(prepared),
        "code": [sha256(path) for path in stage_code("train")],
        "versions": library_versions()["train"],
        "processors": [cpu(), *gpus()],
        "onednn": FIXED[ONEDNN],
        "threads": cfg.train.threads or usable_cores(),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
