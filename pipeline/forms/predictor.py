"""What answers images, and the forms that a model file has. It imports no runtime."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.system.files import sha256

EXPORTS = "exports"  # the folder of the forms, next to the folder of the model
RECORD = "forms.json"  # the digests of the model and of its forms
LITERT, INT8, ONNX, SAVED_MODEL = "model.tflite", "model_int8.tflite", "model.onnx", "saved_model"

Images = NDArray[np.uint8]
Probabilities = NDArray[np.float32]


@dataclass(frozen=True)
class Predictor:
    """A model that answers images.

    Attributes:
        shape: height and width of the images that it takes.
        answer: from images, uint8 of shape (N, height, width), to the probabilities of the classes,
            float32 of shape (N, classes).
    """

    shape: tuple[int, int]
    answer: Callable[[Images], Probabilities]


def light_form(uri: str) -> Path | None:
    """The LiteRT or ONNX file with which a model URI is answered; None if Keras must answer it.

    Args:
        uri: such a file, or a .keras file whose forms `evaluate` has written. LiteRT starts sooner.
            A form counts only if its digest, and that of the .keras file, are the recorded ones.
    """
    path = Path(uri)
    if path.suffix in (".tflite", ".onnx"):
        return path
    folder = path.parent.parent / EXPORTS
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
        name = next(name for name in (LITERT, ONNX) if name in record["forms"])
        same = record["forms"][name] == sha256(folder / name) and record["model"] == sha256(path)
    except (OSError, ValueError, LookupError, TypeError, StopIteration):
        return None
    return folder / name if same else None


def threads() -> int:
    """The number of threads with which a form answers: the cores of this process, 8 at most."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, 8)
