"""Small models of each kind, exported by real converters and run by real runtimes."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.artifacts.keras_file import load_model, save_model
from pipeline.forms.export import export_forms
from pipeline.forms.litert_runtime import load_litert
from pipeline.forms.onnx_runtime import load_onnx
from pipeline.forms.parity import compare_forms
from pipeline.forms.predictor import INT8, LITERT, ONNX, SAVED_MODEL, light_form
from pipeline.models import cnn, mlp, rnn
from pipeline.system.errors import UserError
from tests.helpers.project import REPOSITORY

pytestmark = pytest.mark.slow

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 9, 8), np.uint8)
LABELS = np.zeros(40, np.uint8)
MODELS: dict[str, Callable[[], keras.Model]] = {
    "softmax": lambda: mlp((9, 8), 3, depth=0, width=0),
    "mlp": lambda: mlp((9, 8), 3, depth=1, width=5, batch_norm=True, dropout=0.5),
    "cnn": lambda: cnn((9, 8), 3, [4, 6], [3, 2], [2, 1], units=5, batch_norm=True),
    "rnn": lambda: rnn((9, 8), 3, "lstm", depth=1, units=4),
    "gru": lambda: rnn((9, 8), 3, "gru", depth=2, units=4, dropout=0.5),
}


def exported(folder: Path, model: keras.Model) -> Path:
    """Save a model and export it; the folder of its forms."""
    path = folder / "models/model.keras"
    save_model(model, path)
    export_forms(load_model(path), path, IMAGES, folder / "exports")
    return folder / "exports"


@pytest.mark.parametrize("name", MODELS)
def test_every_form_answers_as_keras_does(tmp_path: Path, name: str) -> None:
    keras.utils.set_random_seed(1)
    model = MODELS[name]()
    folder = exported(tmp_path, model)
    wanted = model.predict(IMAGES, verbose=0)
    results, speeds = compare_forms(folder, IMAGES, LABELS, wanted)
    forms = {key.removesuffix("_bytes") for key in results if key.endswith("_bytes")}
    # LiteRT has no operators for the loop of an RNN.
    litert = set() if name in ("rnn", "gru") else {"litert", "litert_int8"}
    assert forms == {"onnx", "saved_model", *litert}
    assert set(speeds) == {
        f"{form}_{speed}" for form in forms for speed in ("images_per_second", "milliseconds")
    }
    for form in forms - {"litert_int8"}:
        assert results[f"{form}_labels_changed"] == 0
        assert results[f"{form}_differences_below"] <= 1e-5
        accuracy = float((wanted.argmax(1) == LABELS).mean())
        assert results[f"{form}_accuracy"] == accuracy
    if litert:
        assert results["litert_int8_differences_below"] <= 0.1
        float32, int8 = (results[f"{form}_bytes"] for form in sorted(litert))
        assert int8 < 1.1 * float32, "so small a model is mostly its structure"


AGAIN = """
import sys
from pathlib import Path
import numpy as np
from pipeline.artifacts.keras_file import load_model
from pipeline.forms.export import export_forms
from tests.unit.forms.test_export import IMAGES

file, folder = map(Path, sys.argv[1:])
model = load_model(file)
model.predict(IMAGES, verbose=0)  # traces functions, which TensorFlow numbers
export_forms(model, file, IMAGES, folder)
"""


@pytest.mark.parametrize("name", ["cnn", pytest.param("gru", marks=pytest.mark.long)])
def test_another_process_writes_the_same_bytes(tmp_path: Path, name: str) -> None:
    folder = exported(tmp_path, MODELS[name]())
    again = tmp_path / "again"
    command = [sys.executable, "-c", AGAIN, str(tmp_path / "models/model.keras"), str(again)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert names == sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file())
    for path in names:
        assert (folder / path).read_bytes() == (again / path).read_bytes(), path


class Foreign(keras.layers.Layer):
    """A layer whose operation only TensorFlow has."""

    def call(self, inputs: object) -> object:
        """Look up random numbers by a hash."""
        text = tf.strings.as_string(inputs)
        return tf.cast(tf.strings.to_hash_bucket_fast(text, 7), tf.float32)


def test_form_that_a_layer_does_not_allow_is_left_out_with_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = [keras.layers.Flatten(), Foreign(), keras.layers.Dense(3, "softmax")]
    model = keras.Sequential([keras.Input((9, 8), dtype="uint8", name="pixels"), *layers])
    (tmp_path / "model.keras").write_bytes(b"any")
    export_forms(model, tmp_path / "model.keras", IMAGES, tmp_path / "exports")
    lines = capsys.readouterr().err.splitlines()
    for line, name in zip(lines, (LITERT, INT8, ONNX), strict=True):
        assert line.startswith(f"{tmp_path}/exports/{name} is left out: ")
    assert (tmp_path / "exports" / SAVED_MODEL).is_dir()
    results, _ = compare_forms(
        tmp_path / "exports", IMAGES, LABELS, model.predict(IMAGES, verbose=0)
    )
    assert results["saved_model_labels_changed"] == 0


def test_form_counts_only_with_the_recorded_digests(tmp_path: Path) -> None:
    folder = exported(tmp_path, MODELS["mlp"]())
    model = tmp_path / "models/model.keras"
    assert light_form(str(model)) == folder / LITERT
    for path in (folder / LITERT, model, folder / "forms.json"):
        content = path.read_bytes()
        path.write_bytes(content + b" ]")
        assert light_form(str(model)) is None, path
        path.write_bytes(content)
    assert light_form(str(model)) == folder / LITERT
    assert light_form("runs:/1/model") is None
    assert light_form("missing.onnx") == Path("missing.onnx")


def test_model_without_litert_is_answered_by_onnx(tmp_path: Path) -> None:
    folder = exported(tmp_path, MODELS["rnn"]())
    assert light_form(str(tmp_path / "models/model.keras")) == folder / ONNX


@pytest.mark.parametrize("load", [load_litert, load_onnx])
def test_file_that_is_no_form_is_one_line(tmp_path: Path, load: type) -> None:
    for content in (b"", b"no model", bytes(1000)):
        (tmp_path / "model").write_bytes(content)
        with pytest.raises(UserError, match=r"model is not an? \w+ model: ") as error:
            load(tmp_path / "model")
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="there is no model file"):
        load(tmp_path / "missing")
