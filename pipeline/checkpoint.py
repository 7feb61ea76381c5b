"""Where a training stands: what was killed goes on from there, and ends as if it never had been.

A training's checkpoints lie in a folder of the real repository that DVC does not know of, since DVC
deletes a stage's outputs before it runs. The folder is named by a fingerprint of everything that
shapes the result, so that another configuration never picks them up.
"""

import hashlib
import io
import json
import logging
import os
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import data
from pipeline.config import Config, root
from pipeline.files import atomic_write, sha256, write_text

Arrays = list[NDArray[Any]]

_FOLDER = ".checkpoints"
_CODE = ("archive", "augment", "checkpoint", "data", "models", "train")
_KEPT = 2  # the newest, and the one before it for when that is damaged
_SHARE = 40  # between two checkpoints passes this many times what the last one cost: under 3 %


@dataclass(frozen=True)
class State:
    """A training at the end of an epoch.

    Attributes:
        history: what each epoch measured.
        variables: of the model, those of dropout's random numbers included.
        optimizer: the optimizer's variables, its count of steps included.
        best: the model's weights at its best epoch.
    """

    history: list[dict[str, float]]
    variables: Arrays
    optimizer: Arrays
    best: Arrays


class Checkpoints:
    """The checkpoints of one training, newest last."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`, which is made when something is written."""
        self.folder = folder
        self._saved_at = time.monotonic()
        self._cost = 0.0

    @classmethod
    def of(cls, cfg: Config, prepared: Path, init: Path | None = None) -> "Checkpoints":
        """The checkpoints of what a configuration would train on prepared data, from a model."""
        return cls(root() / _FOLDER / fingerprint(cfg, prepared, init)[:32])

    def save(self, state: State, last: bool) -> None:
        """Write a checkpoint, if enough time has passed to pay for it, or if it is the last."""
        started = time.monotonic()
        if not last and started - self._saved_at < _SHARE * self._cost:
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
            old.unlink(missing_ok=True)  # the same training, run twice at once, shares them
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - started

    def load(self) -> State | None:
        """The newest checkpoint that is whole; one that is not is set aside with a warning."""
        for path in reversed(self._paths()):
            content = path.read_bytes()
            if hashlib.sha256(content[32:]).digest() == content[:32]:
                return _parse(content[32:])
            damaged = path.with_name(f"damaged-{path.name}")
            path.replace(damaged)
            logging.warning("a damaged checkpoint is set aside as %s", damaged)
        return None

    def finish(self) -> None:
        """Mark the training as done: `remove_finished` may take its checkpoints away."""
        write_text(self.folder / "finished", "")

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("epoch-*"))


def _parse(content: bytes) -> State:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return State(
        json.loads(arrays["history"].tobytes()),
        *(
            [arrays[name] for name in sorted(arrays) if name.startswith(f"{part}.")]
            for part in ("variables", "optimizer", "best")
        ),
    )


def remove_finished() -> None:
    """Remove the checkpoints of trainings that are done.

    `evaluate` calls it, not `train`: until DVC has recorded what train wrote, a kill makes it run
    again, and then the last checkpoint spares it the work, and MLflow a second run.
    """
    for marker in (root() / _FOLDER).glob("*/finished"):
        shutil.rmtree(marker.parent, ignore_errors=True)


def fingerprint(cfg: Config, prepared: Path, init: Path | None = None) -> str:
    """SHA-256, in hexadecimal, of everything that shapes what a training gives."""
    import keras
    import tensorflow as tf

    sections = ("model", "augment", "optimizer", "schedule", "train")
    shapes = {
        **{name: getattr(cfg, name) for name in sections[:-1]},
        # What counts of a model to train on from is what it is, not where it was found.
        "train": {**asdict(cfg.train), "init_from": init and sha256(init)},
        "data": data.digest(prepared),
        "code": [sha256(Path(__file__).with_name(f"{name}.py")) for name in _CODE],
        "versions": [tf.__version__, keras.__version__, np.__version__],
        "threads": cfg.train.threads or os.cpu_count(),
    }
    return hashlib.sha256(json.dumps(shapes, sort_keys=True).encode()).hexdigest()
