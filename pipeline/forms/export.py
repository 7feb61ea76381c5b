"""Write a Keras model in the other forms, each with equal bytes for equal models."""

import contextlib
import io
import logging
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.forms.canonical import rewrite_onnx, rewrite_saved_model
from pipeline.forms.litert_runtime import load_litert
from pipeline.forms.onnx_runtime import load_onnx
from pipeline.forms.predictor import INT8, LITERT, ONNX, RECORD, SAVED_MODEL
from pipeline.forms.quiet import quiet_stderr
from pipeline.system.errors import one_line
from pipeline.system.files import TEMPORARY, sha256, write_json

CALIBRATION = 300  # training images from which the ranges of int8 come
_INPUT, _OUTPUT = "pixels", "probabilities"


def export_forms(model: keras.Model, file: Path, images: NDArray[np.uint8], folder: Path) -> None:
    """Write a model as LiteRT, LiteRT with int8 weights, ONNX and SavedModel, and their digests.

    A form that the model does not allow, such as one with a custom layer, is left out with a line.

    Args:
        model: takes images, uint8 of shape (N, height, width).
        file: its .keras file, whose digest is recorded.
        images: training images, from which the ranges of int8 are measured, shape (N, h, w).
        folder: where the forms are written; what is in it is replaced.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    writers: dict[str, Callable[[Path], None]] = {
        LITERT: lambda path: _write_litert(model, path),
        INT8: lambda path: _write_int8(model, path, images),
        ONNX: lambda path: _write_onnx(model, path),
        SAVED_MODEL: lambda path: _write_saved_model(model, path),
    }
    for name, write in writers.items():
        with tempfile.TemporaryDirectory(prefix=TEMPORARY) as temporary:
            path = Path(temporary) / name
            try:
                with _quiet():
                    write(path)
            except Exception as error:  # a converter can raise any error
                print(f"{folder / name} is left out: {_reason(error)}", file=sys.stderr)
                continue
            shutil.move(path, folder / name)
    shutil.copyfile(Path(__file__).with_name("README.md"), folder / "README.md")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    digests = {
        path.relative_to(folder).as_posix(): sha256(path)
        for path in files
        if path.name != "README.md"
    }
    write_json(folder / RECORD, {"model": sha256(file), "forms": digests})


def _write_litert(model: keras.Model, path: Path) -> None:
    model.export(str(path), format="litert", verbose=False)
    _check_litert(path)


def _check_litert(path: Path) -> None:
    """Raise UserError for a file that LiteRT cannot run: an LSTM needs operators of TensorFlow."""
    predictor = load_litert(path)
    predictor.answer(np.zeros((2, *predictor.shape), np.uint8))


def _write_int8(model: keras.Model, path: Path, images: NDArray[np.uint8]) -> None:
    """Weights and activations of 8 bits; the input stays raw pixels, the output float32."""

    def examples() -> Iterator[list[NDArray[np.uint8]]]:
        step = max(len(images) // CALIBRATION, 1)
        for start in range(0, step * min(CALIBRATION, len(images)), step):
            yield [np.asarray(images[start : start + 1])]

    model.export(
        str(path),
        format="litert",
        verbose=False,
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=examples,
    )
    _check_litert(path)


def _write_onnx(model: keras.Model, path: Path) -> None:
    model.export(str(path), format="onnx", verbose=False)
    rewrite_onnx(path, [_OUTPUT])
    predictor = load_onnx(path)
    predictor.answer(np.zeros((2, *predictor.shape), np.uint8))


def _write_saved_model(model: keras.Model, path: Path) -> None:
    """Not by `model.export`, which stores the variables in the order of a set."""
    spec = tf.TensorSpec(model.inputs[0].shape, model.inputs[0].dtype, name=_INPUT)

    def serve(pixels: tf.Tensor) -> dict[str, Any]:
        return {_OUTPUT: model(pixels, training=False)}

    module = tf.Module()
    module.weights = [variable.value for variable in model.weights]
    module.serve = tf.function(serve, input_signature=[spec])
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.serve})
    rewrite_saved_model(path)


def _reason(error: Exception) -> str:
    """Why a converter failed, without its stack of operators."""
    text = one_line(error)
    if "Select TensorFlow op" in text or "Flex" in text:
        return "LiteRT has no operators for a part of it, such as the loop of an RNN"
    return text[:200]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide what the converters print and log. Their errors are raised."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            contextlib.redirect_stdout(io.StringIO()),
            quiet_stderr(),
        ):
            yield
    finally:
        logging.disable(before)
