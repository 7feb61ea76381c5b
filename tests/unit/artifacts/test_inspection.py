import base64
import inspect
import io
import json
import marshal
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import keras
import numpy as np
import pytest
from keras import layers

from pipeline.artifacts.inspection import _CODE, _foreign
from pipeline.artifacts.keras_file import load_model, save_model
from pipeline.models import sequential
from tests.helpers import memory
from tests.helpers.model_files import (
    Change,
    changed_file,
    class_entry,
    dense,
    function_entry,
    load_error,
    members,
    network,
    with_config,
    write_zip,
)

TOUCH = ["touch", "executed"]
CODE = base64.b64encode(marshal.dumps((lambda x: Path("executed").touch()).__code__)).decode()
LAMBDA = {"class_name": "__lambda__", "config": {"value": {"code": CODE}}}
FOREIGN: dict[str, Change] = {
    "layer": lambda c: c["config"]["layers"].append(class_entry("subprocess", "Popen", args=TOUCH)),
    "model": lambda c: c.update(class_entry("subprocess", "Popen", args=TOUCH)),
    "no module": lambda c: c["config"]["layers"].append(class_entry(None, "Popen", args=TOUCH)),
    "activation": lambda c: dense(c).update(activation=function_entry("os", "system")),
    "initializer": lambda c: dense(c).update(
        kernel_initializer=function_entry("builtins.x", "exec")
    ),
    "optimizer": lambda c: c["compile_config"].update(
        optimizer=class_entry("os", "system", command="")
    ),
    "loss": lambda c: c["compile_config"].update(loss=function_entry("os", "system")),
    "metric": lambda c: c["compile_config"].update(metrics=[function_entry("shutil", "rmtree")]),
    "build": lambda c: c.update(
        build_config={"input_shape": class_entry("os", "system", command="")}
    ),
    "registered name": lambda c: c["config"]["layers"].append(
        {**class_entry("os", "system"), "registered_name": "keras>Dense"}
    ),
    "type": lambda c: c.update(
        {**class_entry("os", "__typespec__"), "spec_name": "system", "config": ["true"]}
    ),
    # Keras's own functions that write files or download.
    "plot": lambda c: dense(c).update(activation=function_entry("keras.utils", "plot_model")),
    "download": lambda c: dense(c).update(
        activation=function_entry("keras.datasets.mnist", "load_data")
    ),
    "setting": lambda c: dense(c).update(activation=function_entry("keras.config", "set_floatx")),
    "function as a class": lambda c: dense(c).update(
        activation=class_entry("keras.utils", "plot_model")
    ),
    "class": lambda c: dense(c).update(activation=function_entry("keras.callbacks", "CSVLogger")),
    # Code in the file, as several versions of Keras store it.
    "lambda": lambda c: c["config"]["layers"].append(
        class_entry("keras.layers", "Lambda", function=LAMBDA)
    ),
    "old lambda": lambda c: c["config"]["layers"].append(
        {"class_name": "Lambda", "config": {"function": [CODE, None, None]}}
    ),
    "activation lambda": lambda c: dense(c).update(activation=LAMBDA),
    "SavedModel": lambda c: c["config"]["layers"].append(
        class_entry("keras.layers", "TFSMLayer", filepath="x", call_endpoint="serve")
    ),
    "PyTorch": lambda c: c["config"]["layers"].append(
        class_entry("keras.layers", "TorchModuleWrapper", module=CODE)
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", FOREIGN.values(), ids=FOREIGN.keys())
def test_foreign_code_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    path = changed_file(tmp_path, change)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert "not a part of Keras that is safe to load, and is not registered" in load_error(path)
    assert list((tmp_path / "empty").iterdir()) == []


def test_layer_is_loaded_only_in_a_process_that_registers_it(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"

    class Twice(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs * 2

    registered = keras.saving.register_keras_serializable("own")(Twice)
    sequential((8, 8), 3, [layers.Flatten(), registered()]).save(path)
    assert load_model(path).layers[2].__class__ is Twice
    keras.saving.get_custom_objects().pop("own>Twice")
    assert "Twice, which is not a part of Keras" in load_error(path)


@pytest.mark.slow
def test_layers_of_many_kinds_are_loaded(tmp_path: Path) -> None:
    pixels = keras.Input((8, 8), dtype="uint8")
    grey = layers.Reshape((8, 8, 1))(layers.Rescaling(1 / 255)(pixels))
    grey = layers.RandomRotation(0.1)(grey)
    grey = layers.Conv2D(4, 3, padding="same", kernel_regularizer=keras.regularizers.L2(1e-3))(grey)
    grey = layers.LayerNormalization()(grey) + layers.PReLU()(grey)
    row = layers.Bidirectional(layers.LSTM(4, dropout=0.5))(layers.Reshape((8, 32))(grey))
    outputs = layers.Dense(3, activation=keras.activations.softmax)(keras.ops.relu(row))
    model = keras.Model(pixels, outputs)
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss=keras.losses.BinaryCrossentropy())
    save_model(model, tmp_path / "model.keras")
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8), np.uint8)
    loaded = load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images, training=False), model(images, training=False))


@pytest.mark.slow
def test_huge_layer_is_refused_before_it_is_allocated(tmp_path: Path) -> None:
    def widen(config: dict[str, Any]) -> None:
        """Make the last hidden layer gigabytes large."""
        entries = config["config"]["layers"]
        wide = [layer for layer in entries if layer["class_name"] == "Dense"][-2]
        wide["config"]["units"] = 10**7
        for layer in entries[entries.index(wide) + 1 :]:
            layer["build_config"] = {"input_shape": [None, 10**7]}

    keras.utils.clear_session()
    hidden = [layers.Flatten(), layers.Dense(4)]
    save_model(sequential((8, 8), 3, hidden), tmp_path / "good.keras")
    content = members(tmp_path / "good.keras")
    config = json.loads(content["config.json"])
    widen(config)
    error = load_error(with_config(tmp_path / "bad.keras", content, config))
    assert "it declares 680000003 weights but holds 275" in error


def hollow(weights: bytes) -> bytes:
    """Replace a weight by one that takes a gigabyte in memory but no space in the file."""
    content = io.BytesIO(weights)
    with h5py.File(content, "r+") as file:
        del file["layers/dense/vars/0"]
        file.create_dataset("layers/dense/vars/0", (2**28,), "f4", chunks=(2**20,))
    return content.getvalue()


@pytest.mark.slow
def test_bombs_are_refused_without_taking_their_memory(tmp_path: Path) -> None:
    save_model(network(), tmp_path / "good.keras")
    content = members(tmp_path / "good.keras")
    gigabyte = {**content, "model.weights.h5": bytes(2**30)}
    write_zip(tmp_path / "zip.keras", gigabyte, zipfile.ZIP_DEFLATED)
    del gigabyte
    weights = hollow(content["model.weights.h5"])
    write_zip(tmp_path / "h5.keras", {**content, "model.weights.h5": weights})
    write_zip(tmp_path / "json.keras", {**content, "config.json": b"[" * 10**6})
    for widths in ([10**7], [2 * 10**4, 2 * 10**4, 2 * 10**4]):  # in one layer, and in several
        config = json.loads(content["config.json"])
        wide = [class_entry("keras.layers", "Dense", units=units) for units in widths]
        config["config"]["layers"][3:-1] = wide
        config["config"]["layers"][-1].pop("build_config")
        with_config(tmp_path / f"dense{len(widths)}.keras", content, config)
    code = """
from pathlib import Path
from pipeline.artifacts.keras_file import load_model
from pipeline.system.errors import UserError
from tests.helpers.memory import peak
load_model(Path("good.keras"))
before = peak()
for path in sorted(Path().glob("*.keras")):
    try:
        load_model(path)
        print(path, "loaded")
    except UserError as error:
        print(error)
print(peak() - before)
"""
    *lines, grown = memory.run(code, folder=tmp_path)
    reasons = [
        "it declares 680000003",
        "it declares 80",
        "loaded",
        "weights unpack",
        "recursion",
        "members unpack",
    ]
    for line, reason in zip(lines, reasons, strict=True):
        assert reason in line
    assert int(grown) < 100, "megabytes"


@pytest.mark.slow
@pytest.mark.parametrize("way", ["external", "virtual"])
def test_weights_in_another_file_are_refused(tmp_path: Path, way: str) -> None:
    save_model(network(), tmp_path / "good.keras")
    content = members(tmp_path / "good.keras")
    name, shape = "layers/dense/vars/0", (64, 5)
    (tmp_path / "numbers").write_bytes(bytes(4 * 64 * 5))
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["numbers"] = np.zeros(shape, np.float32)
    layout = h5py.VirtualLayout(shape, "f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "numbers", shape)
    weights = io.BytesIO(content["model.weights.h5"])
    with h5py.File(weights, "r+") as file:
        del file[name]
        if way == "external":
            numbers = (str(tmp_path / "numbers"), 0, 4 * 64 * 5)
            file.create_dataset(name, shape, "f4", external=[numbers])
        else:
            file.create_virtual_dataset(name, layout)
        np.testing.assert_array_equal(file[name], np.zeros(shape))  # HDF5 itself reads them
    content["model.weights.h5"] = weights.getvalue() + bytes(2000)
    assert "cannot be loaded as a model" in load_error(write_zip(tmp_path / "bad.keras", content))


@pytest.mark.slow
def test_other_members_are_refused_and_not_unpacked(tmp_path: Path) -> None:
    save_model(network(), tmp_path / "good.keras")
    content = members(tmp_path / "good.keras")
    for name in ("../escaped", "/tmp/escaped", "assets/../../escaped", "assets/vocabulary.txt"):
        assert f"it holds {name}" in load_error(
            write_zip(tmp_path / "bad.keras", {name: b"escaped", **content})
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.keras", "good.keras"]


def test_lambda_layer_is_refused(tmp_path: Path) -> None:
    hidden = [layers.Flatten(), layers.Lambda(lambda x: x * 2)]
    sequential((8, 8), 3, hidden).save(tmp_path / "model.keras")
    assert "Lambda" in load_error(tmp_path / "model.keras")


METRIC = class_entry("keras.metrics", "AUC", num_thresholds=10**12)
TABLE = class_entry("keras.layers", "CategoryEncoding", num_tokens=10**12)
HUGE: dict[str, Change] = {
    "units": lambda c: dense(c).update(units=10**12),
    "metric": lambda c: c["compile_config"].update(metrics=[METRIC]),
    "layer": lambda c: c["config"]["layers"].insert(2, TABLE),
    "input": lambda c: c["config"]["layers"][0]["config"].update(batch_shape=[None, 10**12, 8]),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", HUGE.values(), ids=HUGE.keys())
def test_huge_number_is_refused(tmp_path: Path, change: Change) -> None:
    assert "has the number 1000000000000;" in load_error(changed_file(tmp_path, change))


def test_seed_may_be_a_large_number(tmp_path: Path) -> None:
    hidden = [layers.Flatten(), layers.Dropout(0.5, seed=2**31)]
    sequential((8, 8), 3, hidden).save(tmp_path / "model.keras")
    load_model(tmp_path / "model.keras")


@pytest.mark.parametrize("nested", [False, True])
def test_layer_with_a_huge_output_is_refused(tmp_path: Path, nested: bool) -> None:
    repeated = [layers.Flatten(), layers.RepeatVector(2 * 10**5), layers.GlobalMaxPooling1D()]
    inner = [keras.Sequential(repeated)] if nested else repeated
    sequential((8, 8), 3, inner).save(tmp_path / "model.keras")
    assert "a layer needs 12800000 numbers per image" in load_error(tmp_path / "model.keras")


# A valid value for each argument that Keras's classes require.
ARGUMENTS: dict[str, Callable[[], Any]] = {
    "activation": lambda: "relu",
    "axes": lambda: 1,
    "cell": lambda: layers.LSTMCell(2),
    "cells": lambda: [layers.LSTMCell(2)],
    "default_optimizer": keras.optimizers.SGD,
    "dims": lambda: (2, 1),
    "equation": lambda: "ab,bc->ac",
    "factor": lambda: 1,
    "fn": lambda: keras.losses.mean_squared_error,
    "inner_optimizer": keras.optimizers.SGD,
    "layer": lambda: layers.LSTM(2),
    "layers": lambda: [layers.Rescaling(0.5)],
    "optimizer_map": lambda: keras.optimizers.OptimizerMap(keras.optimizers.SGD()),
    "output_shape": lambda: (2,),
    "shape": lambda: (2,),
    "target_class_ids": lambda: [0],
    "target_shape": lambda: (2,),
    **dict.fromkeys(("kernel_size", "num_key_value_heads", "output_size", "pool_size"), lambda: 1),
    **dict.fromkeys(("filters", "head_dim", "height", "input_dim", "key_dim"), lambda: 2),
    **dict.fromkeys(("max_number", "n", "num_bins", "num_classes", "num_heads"), lambda: 2),
    **dict.fromkeys(("num_query_heads", "num_tokens", "output_dim", "units", "width"), lambda: 2),
    **dict.fromkeys(("height_factor", "precision", "rate", "recall", "scale"), lambda: 0.5),
    **dict.fromkeys(("sensitivity", "specificity", "stddev", "width_factor"), lambda: 0.5),
}
# Arguments that a class requires although they have a default.
REQUIRED = {"CategoryEncoding": "num_tokens", "Discretization": "num_bins", "InputLayer": "shape"}
ABSTRACT = {"Optimizer", "Regularizer"}  # no model file holds one


def instance_of(class_: type[Any]) -> Any:
    """An object of a class of Keras, made with as few arguments as possible."""
    names = [
        name
        for name, parameter in inspect.signature(class_).parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    names += [REQUIRED[class_.__name__]] if class_.__name__ in REQUIRED else []
    return class_(**{name: ARGUMENTS[name]() for name in names})


@pytest.mark.parametrize(
    "module",
    ["layers", "initializers", "losses", "metrics", "optimizers", "regularizers", "constraints"],
)
def test_every_public_class_of_the_installed_keras_is_known(module: str) -> None:
    """Except those that run code. A new version of Keras may serialize a class differently."""
    members = inspect.getmembers(getattr(keras, module), inspect.isclass)
    classes = {class_ for name, class_ in members if name not in _CODE | ABSTRACT}
    assert len(classes) > 3
    unknown = {
        class_: foreign
        for class_ in classes
        if (foreign := list(_foreign(keras.saving.serialize_keras_object(instance_of(class_)))))
    }
    assert unknown == {}


@pytest.mark.parametrize("name", sorted(_CODE - {"__lambda__"}))
def test_layer_that_runs_code_exists_and_is_refused(name: str) -> None:
    """A layer of the list that Keras has renamed would no longer be refused."""
    assert inspect.isclass(getattr(layers, name))
    assert list(_foreign(class_entry("keras.layers", name))) == [("keras.layers", name, "None")]


def test_every_activation_of_the_installed_keras_is_known() -> None:
    functions = dict(inspect.getmembers(keras.activations, inspect.isfunction))
    for name in ("get", "serialize", "deserialize"):
        del functions[name]
    assert {"relu", "softmax"} <= set(functions)
    for function in functions.values():
        assert list(_foreign(keras.saving.serialize_keras_object(function))) == []
