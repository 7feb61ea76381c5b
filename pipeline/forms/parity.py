"""Compare what each form answers with what Keras answers, and measure how fast."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.forms.litert_runtime import load_litert
from pipeline.forms.onnx_runtime import load_onnx
from pipeline.forms.predictor import INT8, LITERT, ONNX, SAVED_MODEL, Images, Probabilities

_BATCH = 250  # images that are answered together
_REPEATS = 30  # answers of one image, whose median time is the latency

# In metrics. MLflow's page puts names with a slash before all others, and before the curves.
_NAMES = {LITERT: "litert", INT8: "litert_int8", ONNX: "onnx", SAVED_MODEL: "saved_model"}

Answer = Callable[[Images], Probabilities]


def compare_forms(
    folder: Path, images: Images, labels: NDArray[np.uint8], wanted: Probabilities
) -> tuple[dict[str, float], dict[str, float]]:
    """Answer the test images with each form in its own runtime.

    Args:
        folder: what `export_forms` has written.
        images: the test images, uint8 of shape (N, height, width).
        labels: their labels, shape (N,).
        wanted: the probabilities of the Keras model, shape (N, classes).

    Returns:
        Metrics by name, such as `onnx_accuracy`. The first ones repeat: the bytes, the
        accuracy, the number of labels that are not those of Keras, and the power of ten below which
        all differences of probabilities lie. The second ones do not: milliseconds for one image,
        and images a second.
    """
    results: dict[str, float] = {}
    speeds: dict[str, float] = {}
    for name, load in _LOADERS.items():
        path = folder / name
        if not path.exists():
            continue
        answer = load(path)
        start = time.perf_counter()
        parts = range(0, len(images), _BATCH)
        given = np.concatenate([answer(np.asarray(images[i : i + _BATCH])) for i in parts])
        seconds = time.perf_counter() - start
        form = _NAMES[name]
        answers = given.argmax(1)
        files = [path, *path.rglob("*")]
        results[f"{form}_bytes"] = sum(f.stat().st_size for f in files if f.is_file())
        results[f"{form}_accuracy"] = float((answers == labels).mean())
        results[f"{form}_labels_changed"] = int((answers != wanted.argmax(1)).sum())
        results[f"{form}_differences_below"] = _power_above(float(np.abs(given - wanted).max()))
        speeds[f"{form}_images_per_second"] = len(images) / seconds
        speeds[f"{form}_milliseconds"] = 1000 * _latency(answer, np.asarray(images[:1]))
    return results, speeds


def fastest_answer(folder: Path, model: keras.Model) -> Answer:
    """What answers images soonest: LiteRT, else ONNX Runtime, else the Keras model itself.

    Args:
        folder: what `export_forms` has written.
        model: the model.
    """
    for name in (LITERT, ONNX):
        if (folder / name).exists():
            answer = _LOADERS[name](folder / name)
            return lambda images: np.concatenate(
                [answer(images[i : i + _BATCH]) for i in range(0, len(images), _BATCH)]
            )
    return lambda images: np.asarray(model.predict(images, batch_size=1000, verbose=0))


def _power_above(difference: float) -> float:
    """The least power of ten that is larger, so that it is the same on other processors."""
    return float(10.0 ** math.ceil(math.log10(max(difference, 1e-9) * 1.0001)))


def _latency(answer: Answer, image: Images) -> float:
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        answer(image)
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def _load_saved_model(folder: Path) -> Answer:
    loaded = tf.saved_model.load(str(folder))
    serve = loaded.signatures["serving_default"]

    def answer(images: Images) -> Probabilities:
        return np.asarray(serve(tf.constant(images))["probabilities"])

    answer.loaded = loaded  # type: ignore[attr-defined]  # the signature does not keep it alive
    return answer


_LOADERS: dict[str, Callable[[Path], Answer]] = {
    LITERT: lambda path: load_litert(path).answer,
    INT8: lambda path: load_litert(path).answer,
    ONNX: lambda path: load_onnx(path).answer,
    SAVED_MODEL: _load_saved_model,
}
