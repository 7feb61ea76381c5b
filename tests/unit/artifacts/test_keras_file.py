import base64
import io
import json
import marshal
import pickle
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.artifacts.keras_file import load_model, save_model
from pipeline.models import mlp, sequential
from pipeline.system.errors import UserError
from tests.helpers import memory


def network() -> Any:
    import keras

    keras.utils.clear_session()  # Keras counts layers of a kind in their names, in each process
    keras.utils.set_random_seed(3)
    model = mlp((8, 8), 3, depth=2, width=5, batch_norm=True, dropout=0.5)
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy")
    return model


def test_saved_seconds_apart_gives_the_same_bytes(tmp_path: Path) -> None:
    model = network()
    save_model(model, tmp_path / "one.keras")
    time.sleep(2.1)  # a zip file counts in steps of two seconds
    save_model(model, tmp_path / "two.keras")
    assert (tmp_path / "one.keras").read_bytes() == (tmp_path / "two.keras").read_bytes()


def test_equal_models_give_the_same_bytes_and_others_do_not(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_model(network(), tmp_path / name / "model.keras")
    other = network()
    other.set_weights([weight + 1e-6 for weight in other.get_weights()])
    save_model(other, tmp_path / "three" / "model.keras")
    one, two, three = (
        (tmp_path / name / "model.keras").read_bytes() for name in ("one", "two", "three")
    )
    assert one == two
    assert one != three


def test_keras_itself_reads_it(tmp_path: Path) -> None:
    import keras

    model, path = network(), tmp_path / "model.keras"
    save_model(model, path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.keras"]
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8), np.uint8)
    for loaded in (keras.models.load_model(path), load_model(path)):
        np.testing.assert_array_equal(loaded(images), model(images))
        assert float(loaded.optimizer.learning_rate) == pytest.approx(0.01)


def test_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_text("old")
    with pytest.raises(AttributeError):
        save_model(object(), path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.keras"]
    assert path.read_text() == "old"


def refused(path: Path) -> str:
    with pytest.raises(UserError) as error:
        load_model(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def write(path: Path, content: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, member in content.items():
            file.writestr(name, member)
    return path


def changed(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A model file whose configuration was changed."""
    save_model(network(), folder / "good.keras")
    content = members(folder / "good.keras")
    config = json.loads(content["config.json"])
    change(config)
    content["config.json"] = json.dumps(config).encode()
    return write(folder / "bad.keras", content)


def named(module: str | None, name: str, /, **config: Any) -> dict[str, Any]:
    return {"module": module, "class_name": name, "config": config, "registered_name": None}


def function(module: str, name: str) -> dict[str, Any]:
    return {**named(module, "function"), "config": name, "registered_name": name}


def dense(config: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the first Dense layer in a configuration."""
    layers = config["config"]["layers"]
    return next(layer["config"] for layer in layers if layer["class_name"] == "Dense")


TOUCH = ["touch", "executed"]
CODE = base64.b64encode(marshal.dumps((lambda x: Path("executed").touch()).__code__)).decode()
LAMBDA = {"class_name": "__lambda__", "config": {"value": {"code": CODE}}}
FOREIGN: dict[str, Callable[[dict[str, Any]], object]] = {
    "layer": lambda c: c["config"]["layers"].append(named("subprocess", "Popen", args=TOUCH)),
    "model": lambda c: c.update(named("subprocess", "Popen", args=TOUCH)),
    "no module": lambda c: c["config"]["layers"].append(named(None, "Popen", args=TOUCH)),
    "activation": lambda c: dense(c).update(activation=function("os", "system")),
    "initializer": lambda c: dense(c).update(kernel_initializer=function("builtins.x", "exec")),
    "optimizer": lambda c: c["compile_config"].update(optimizer=named("os", "system", command="")),
    "loss": lambda c: c["compile_config"].update(loss=function("os", "system")),
    "metric": lambda c: c["compile_config"].update(metrics=[function("shutil", "rmtree")]),
    "build": lambda c: c.update(build_config={"input_shape": named("os", "system", command="")}),
    "registered name": lambda c: c["config"]["layers"].append(
        {**named("os", "system"), "registered_name": "keras>Dense"}
    ),
    "type": lambda c: c.update(
        {**named("os", "__typespec__"), "spec_name": "system", "config": ["true"]}
    ),
    # Keras's own functions that write files and download.
    "plot": lambda c: dense(c).update(activation=function("keras.utils", "plot_model")),
    "download": lambda c: dense(c).update(activation=function("keras.datasets.mnist", "load_data")),
    "setting": lambda c: dense(c).update(activation=function("keras.config", "set_floatx")),
    "function as a class": lambda c: dense(c).update(activation=named("keras.utils", "plot_model")),
    "class": lambda c: dense(c).update(activation=function("keras.callbacks", "CSVLogger")),
    # Code in the file, in the ways of several versions of Keras.
    "lambda": lambda c: c["config"]["layers"].append(
        named("keras.layers", "Lambda", function=LAMBDA)
    ),
    "old lambda": lambda c: c["config"]["layers"].append(
        {"class_name": "Lambda", "config": {"function": [CODE, None, None]}}
    ),
    "activation lambda": lambda c: dense(c).update(activation=LAMBDA),
    "SavedModel": lambda c: c["config"]["layers"].append(
        named("keras.layers", "TFSMLayer", filepath="x", call_endpoint="serve")
    ),
    "PyTorch": lambda c: c["config"]["layers"].append(
        named("keras.layers", "TorchModuleWrapper", module=CODE)
    ),
}


@pytest.mark.parametrize("change", FOREIGN.values(), ids=FOREIGN.keys())
def test_foreign_code_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], object]
) -> None:
    path = changed(tmp_path, change)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert "neither a part of Keras that holds no code, nor registered" in refused(path)
    assert list((tmp_path / "here").iterdir()) == []


def test_registered_layer_is_read_where_it_is_registered(tmp_path: Path) -> None:
    import keras

    path = tmp_path / "model.keras"

    class Twice(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs * 2

    registered = keras.saving.register_keras_serializable("own")(Twice)
    sequential((8, 8), 3, [keras.layers.Flatten(), registered()]).save(path)
    assert load_model(path).layers[2].__class__ is Twice
    keras.saving.get_custom_objects().pop("own>Twice")
    assert "Twice, which is neither" in refused(path)


def test_layers_of_all_kinds_are_read(tmp_path: Path) -> None:
    import keras
    from keras import layers

    pixels = keras.Input((8, 8), dtype="uint8")
    grey = layers.Reshape((8, 8, 1))(layers.Rescaling(1 / 255)(pixels))
    grey = layers.RandomRotation(0.1)(grey)
    grey = layers.Conv2D(4, 3, padding="same", kernel_regularizer=keras.regularizers.L2(1e-3))(grey)
    grey = layers.LayerNormalization()(grey) + layers.PReLU()(grey)
    row = layers.Bidirectional(layers.LSTM(4, dropout=0.5))(layers.Reshape((8, 32))(grey))
    answers = layers.Dense(3, activation=keras.activations.softmax)(keras.ops.relu(row))
    model = keras.Model(pixels, answers)
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss=keras.losses.BinaryCrossentropy())
    save_model(model, tmp_path / "model.keras")
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8), np.uint8)
    loaded = load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images, training=False), model(images, training=False))


def test_absurd_layer_is_refused_before_it_is_made(tmp_path: Path) -> None:
    def widen(config: dict[str, Any]) -> None:
        """Gigabytes."""
        layers = config["config"]["layers"]
        wide = [layer for layer in layers if layer["class_name"] == "Dense"][-2]
        wide["config"]["units"] = 10**7
        for layer in layers[layers.index(wide) + 1 :]:
            layer["build_config"] = {"input_shape": [None, 10**7]}

    import keras

    keras.utils.clear_session()
    layers = [keras.layers.Flatten(), keras.layers.Dense(4)]
    save_model(sequential((8, 8), 3, layers), tmp_path / "good.keras")
    content = members(tmp_path / "good.keras")
    config = json.loads(content["config.json"])
    widen(config)
    content["config.json"] = json.dumps(config).encode()
    said = refused(write(tmp_path / "bad.keras", content))
    assert "it declares 680000003 weights but holds 275" in said


def hollow(weights: bytes) -> bytes:
    """Weights of which one takes a gigabyte in memory, and nothing in the file."""
    import h5py  # type: ignore[import-untyped]

    content = io.BytesIO(weights)
    with h5py.File(content, "r+") as file:
        del file["layers/dense/vars/0"]
        file.create_dataset("layers/dense/vars/0", (2**28,), "f4", chunks=(2**20,))
    return content.getvalue()


@pytest.mark.slow
def test_bombs_are_refused_without_their_memory(tmp_path: Path) -> None:
    save_model(network(), tmp_path / "good.keras")
    content = members(tmp_path / "good.keras")
    gigabyte = {**content, "model.weights.h5": bytes(2**30)}
    write(tmp_path / "zip.keras", gigabyte, zipfile.ZIP_DEFLATED)
    del gigabyte
    weights = hollow(content["model.weights.h5"])
    write(tmp_path / "h5.keras", {**content, "model.weights.h5": weights})
    write(tmp_path / "json.keras", {**content, "config.json": b"[" * 10**6})
    for layers in ([10**7], [2 * 10**4, 2 * 10**4, 2 * 10**4]):  # at once, and step by step
        config = json.loads(content["config.json"])
        config["config"]["layers"][3:-1] = [named("keras.layers", "Dense", units=n) for n in layers]
        config["config"]["layers"][-1].pop("build_config")
        write(
            tmp_path / f"dense{len(layers)}.keras",
            {**content, "config.json": json.dumps(config).encode()},
        )
    code = """
from pathlib import Path
from tests.helpers.memory import peak
from pipeline import archive
from pipeline.command import UserError
archive.load(Path("good.keras"))
before = peak()
for path in sorted(Path().glob("*.keras")):
    try:
        archive.load(path)
        print(path, "loaded")
    except UserError as error:
        print(error)
print(peak() - before)
"""
    *said, grown = memory.run(code, folder=tmp_path)
    reasons = [
        "it declares 680000003",
        "it declares 80",
        "loaded",
        "unpack",
        "recursion",
        "unpacks",
    ]
    for line, reason in zip(said, reasons, strict=True):
        assert reason in line
    assert int(grown) < 100, "megabytes"


@pytest.mark.parametrize("way", ["external", "virtual"])
def test_weights_are_read_from_no_other_file(tmp_path: Path, way: str) -> None:
    import h5py

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
        np.testing.assert_array_equal(file[name], np.zeros(shape))  # HDF5 itself would read them
    content["model.weights.h5"] = weights.getvalue() + bytes(2000)
    assert "is not a model that can be loaded" in refused(write(tmp_path / "bad.keras", content))


def test_nothing_is_unpacked_beside_the_model(tmp_path: Path) -> None:
    save_model(network(), tmp_path / "good.keras")
    content = members(tmp_path / "good.keras")
    for name in ("../escaped", "/tmp/escaped", "assets/../../escaped", "assets/vocabulary.txt"):
        assert f"it holds {name}" in refused(
            write(tmp_path / "bad.keras", {name: b"escaped", **content})
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.keras", "good.keras"]


def test_lambda_layer_is_refused(tmp_path: Path) -> None:
    import keras

    layers = [keras.layers.Flatten(), keras.layers.Lambda(lambda x: x * 2)]
    sequential((8, 8), 3, layers).save(tmp_path / "model.keras")
    assert "Lambda" in refused(tmp_path / "model.keras")


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.keras", tmp_path / "bad.keras"
    save_model(network(), good)
    content = good.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"not a model", b"PK\x03\x04"):
        bad.write_bytes(damaged)
        assert "is not a model that can be loaded" in refused(bad)
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(bad, "w") as target:
        target.writestr("metadata.json", source.read("metadata.json"))
        target.writestr("config.json", source.read("config.json"))
    assert "is not a model that can be loaded" in refused(bad)


class Payload:
    """What a pickle runs when it is read: here, it creates a file."""

    def __init__(self, created: Path) -> None:
        self.created = created

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.created,)


def test_other_formats_are_refused(tmp_path: Path) -> None:
    network().save(tmp_path / "model.h5")
    (tmp_path / "model.h5").rename(tmp_path / "h5.keras")
    (tmp_path / "pickle.keras").write_bytes(pickle.dumps(Payload(tmp_path / "executed")))
    for name in ("h5.keras", "pickle.keras"):
        assert "File is not a zip file" in refused(tmp_path / name)
    assert not (tmp_path / "executed").exists()


def test_folder_and_device_are_no_model_files(tmp_path: Path) -> None:
    (tmp_path / "model.keras").mkdir()
    (tmp_path / "model.keras/config.json").write_text("{}")  # Keras would take it
    (tmp_path / "zero.keras").symlink_to("/dev/zero")
    for name in ("model.keras", "zero.keras"):
        assert "there is no model file" in refused(tmp_path / name)


def test_missing_file_is_named(tmp_path: Path) -> None:
    assert "there is no model file" in refused(tmp_path / "model.keras")


METRIC = named("keras.metrics", "AUC", num_thresholds=10**12)
TABLE = named("keras.layers", "CategoryEncoding", num_tokens=10**12)
ABSURD: dict[str, Callable[[dict[str, Any]], object]] = {
    "units": lambda c: dense(c).update(units=10**12),
    "metric": lambda c: c["compile_config"].update(metrics=[METRIC]),
    "layer": lambda c: c["config"]["layers"].insert(2, TABLE),
    "input": lambda c: c["config"]["layers"][0]["config"].update(batch_shape=[None, 10**12, 8]),
}


@pytest.mark.parametrize("change", ABSURD.values(), ids=ABSURD.keys())
def test_absurd_number_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    assert "it asks for 1000000000000 of something" in refused(changed(tmp_path, change))


def test_number_that_counts_nothing_may_be_large(tmp_path: Path) -> None:
    import keras

    layers = [keras.layers.Flatten(), keras.layers.Dropout(0.5, seed=2**31)]
    sequential((8, 8), 3, layers).save(tmp_path / "model.keras")
    load_model(tmp_path / "model.keras")


@pytest.mark.parametrize("nested", [False, True])
def test_layer_that_makes_much_of_an_image_is_refused(tmp_path: Path, nested: bool) -> None:
    import keras
    from keras import layers

    repeated = [layers.Flatten(), layers.RepeatVector(2 * 10**5), layers.GlobalMaxPooling1D()]
    inner = [keras.Sequential(repeated)] if nested else repeated
    sequential((8, 8), 3, inner).save(tmp_path / "model.keras")
    assert "a layer outputs 12800000 numbers per image" in refused(tmp_path / "model.keras")


def test_other_name_is_refused(tmp_path: Path) -> None:
    save_model(network(), tmp_path / "model.keras")
    for name in ("model.h5", "model"):
        (tmp_path / name).write_bytes((tmp_path / "model.keras").read_bytes())
        assert "is not a .keras file" in refused(tmp_path / name)


@pytest.mark.parametrize(
    ("size", "dtype"), [((None, 8), "uint8"), ((8, None), "uint8"), ((8, 8), "string")]
)
def test_model_of_images_of_no_size_or_no_numbers_is_refused(
    tmp_path: Path, size: tuple[int | None, ...], dtype: str
) -> None:
    import keras

    pixels = keras.Input(size, dtype=dtype)
    pooled = keras.ops.max(keras.ops.zeros_like(pixels, dtype="float32"), axis=(1, 2))
    model = keras.Model(pixels, keras.layers.Dense(3)(pooled[:, None]))
    model.save(tmp_path / "model.keras")
    assert "does not take numeric images of one size" in refused(tmp_path / "model.keras")


@pytest.mark.parametrize(
    ("shape", "flat", "said"),
    [((8, 8, 1), True, "does not take images"), ((8, 8), False, "does not return class")],
)
def test_model_of_another_kind_is_refused(
    tmp_path: Path, shape: tuple[int, ...], flat: bool, said: str
) -> None:
    import keras

    layers = [keras.layers.Flatten()] if flat else []
    keras.Sequential([keras.Input(shape), *layers, keras.layers.Dense(3)]).save(
        tmp_path / "model.keras"
    )
    assert said in refused(tmp_path / "model.keras")
