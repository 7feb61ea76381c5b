"""A model file in canonical form: the same bytes for the same model, whenever it is written.

Keras stamps the date into a .keras file's metadata, ids of the running process into its
configuration, and times into the zip around them. None of them says anything about the model.
"""

import io
import json
import math
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.command import UserError
from pipeline.files import atomic_write

if TYPE_CHECKING:
    import keras

_MEMBERS = ["config.json", "metadata.json", "model.weights.h5"]
_CODE = {"__lambda__", "Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
# Where Keras keeps classes that configurations are made of, but for those in keras.src.
_CLASSES = {
    *("keras", "keras.models", "keras.optimizers.schedules", "keras.quantizers"),
    *(f"keras.{module}" for module in ("constraints", "initializers", "layers", "losses")),
    *(f"keras.{module}" for module in ("metrics", "optimizers", "regularizers")),
}
# Where it keeps functions of tensors. Others of its functions write files and download.
_FUNCTIONS = {
    "builtins",  # what Keras calls the names that it looks up in the modules below
    *(f"keras.{module}" for module in ("activations", "constraints", "initializers", "losses")),
    *(f"keras.{module}" for module in ("metrics", "ops", "regularizers")),
}
_MAX_NUMBER = 10**7  # in a configuration, and of numbers that a layer makes of one image
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip file can name


def save(model: "keras.Model", path: Path) -> None:
    """Write a .keras file, atomically and in canonical form; `keras.models.load_model` reads it."""
    written = path.with_name(f".{path.name}")  # Keras wants to open the file by a name itself
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        target = written.with_suffix(".part.keras")
        model.save(target)
        content = canonical(target.read_bytes())
    finally:
        target.unlink(missing_ok=True)
    with atomic_write(path) as file:
        file.write(content)


def load(path: Path, address: str | None = None) -> "keras.Model":
    """Read a .keras file; one that brings code, or takes more memory than it has bytes, is refused.

    Layers and functions are Keras's, or registered in this process by
    `keras.saving.register_keras_serializable`.

    Args:
        path: the file.
        address: what errors call it, where it was found under another name.

    Raises:
        UserError: when it is missing, damaged, or not a model that answers images with classes.
    """
    import keras

    address = address or str(path)
    if not path.is_file():
        raise UserError(f"there is no model file {address}")
    if path.suffix != ".keras":  # Keras goes by the name
        raise UserError(f"{address} is not a .keras file")
    try:
        _inspect(path)
        model = keras.models.load_model(path)
    except Exception as error:  # Keras raises nearly everything at a damaged file
        reason = " ".join(str(error).split())
        raise UserError(f"{address} is not a model that can be loaded: {reason[:300]}") from error
    return check(model, address)


def _inspect(path: Path) -> None:
    """Raise ValueError for what Keras's `safe_mode` would let through.

    That is any function of Keras itself in an activation's place, and 4 GiB from a few bytes.
    """
    with zipfile.ZipFile(path) as file:
        if sorted(file.namelist()) != _MEMBERS:
            raise ValueError(f"it holds {', '.join(file.namelist())}, not {', '.join(_MEMBERS)}")
        # Keras does not compress.
        if sum(member.file_size for member in file.infolist()) > path.stat().st_size:
            raise ValueError("it unpacks to more than it has bytes")
        config = json.loads(file.read("config.json"))
        weights = file.read("model.weights.h5")
    for name in _foreign(config):
        raise ValueError(
            f"it names {name}, which is neither a part of Keras that holds no code, nor registered "
            "by keras.saving.register_keras_serializable in this process"
        )
    for number in _numbers(config):
        if number > _MAX_NUMBER:
            raise ValueError(f"it asks for {number} of something; the limit is {_MAX_NUMBER}")
    stored, (declared, largest) = _stored(weights), _declared(config)
    if declared > stored:
        raise ValueError(f"it declares {declared} weights, and holds {stored}")
    if largest > _MAX_NUMBER:
        raise ValueError(f"a layer makes {largest} numbers of an image; the limit is {_MAX_NUMBER}")


def _foreign(value: Any) -> Iterator[str]:
    """The classes and functions in a configuration that Keras must not look up."""
    import keras

    if isinstance(value, dict):
        name, module = value.get("class_name"), value.get("module")
        if name == "function":
            known, name = module in _FUNCTIONS, value.get("config")
        elif module is None:
            known = str(name).startswith("__") and name not in _CODE  # a tensor, a slice
        else:
            known = module in _CLASSES or str(module).startswith("keras.src.")
            known = known and name not in _CODE
        registered = keras.saving.get_registered_object(str(value.get("registered_name")))
        if "class_name" in value and not known and registered is None:
            yield f"{module}.{name}"
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _foreign(item)


def _numbers(value: Any, key: str = "") -> Iterator[int]:
    """The whole numbers in a configuration, but for those that count nothing."""
    if isinstance(value, int) and key not in ("seed", "shared_object_id"):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _numbers(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from _numbers(item, key)


def _stored(weights: bytes) -> int:
    """How many numbers an HDF5 file holds; ValueError where it claims more than it has bytes."""
    import h5py  # type: ignore[import-untyped]

    datasets: list[Any] = []
    with h5py.File(io.BytesIO(weights)) as file:
        file.visititems(
            lambda _, item: datasets.append(item) if isinstance(item, h5py.Dataset) else None
        )
        if sum(dataset.nbytes for dataset in datasets) > len(weights):
            raise ValueError("its weights unpack to more than it has bytes")
        return sum(dataset.size for dataset in datasets)


def _declared(config: dict[str, Any]) -> tuple[int, int]:
    """How many weights a configuration's model has, and its largest layer's output; none is made.

    An output is counted for one image, where its size is fixed.
    """
    import keras

    result: list[tuple[int, int] | Exception] = []

    def build() -> None:
        try:
            with keras.StatelessScope(initialize_variables=False):
                model = keras.saving.deserialize_keras_object({**config, "compile_config": None})
            weights = sum(math.prod(variable.shape) for variable in model.weights)
            sizes = (math.prod(n or 1 for n in tensor.shape) for tensor in _outputs(model))
            result.append((weights, max(sizes, default=0)))
        except Exception as error:
            result.append(error)

    # Variables without values would get them later in this thread, and only there.
    thread = threading.Thread(target=build)
    thread.start()
    thread.join()
    if isinstance(result[0], Exception):
        raise result[0]
    return result[0]


def _outputs(model: Any) -> Iterator[Any]:
    """What a model's layers give, those of the models in it too."""
    import keras

    for operation in getattr(model, "operations", model.layers):
        if isinstance(operation, keras.Model):
            yield from _outputs(operation)
        yield from keras.tree.flatten(operation.output)


def check(model: Any, address: str) -> "keras.Model":
    """Return a model that takes images and gives class probabilities, and refuse any other."""
    if len(getattr(model, "inputs", ())) != 1 or len(model.inputs[0].shape) != 3:
        raise UserError(f"{address} does not take images of shape (N, height, width)")
    if None in model.inputs[0].shape[1:] or model.inputs[0].dtype == "string":
        raise UserError(f"{address} does not take images of one size, in numbers")
    if len(model.outputs) != 1 or len(model.outputs[0].shape) != 2:
        raise UserError(f"{address} does not give class probabilities of shape (N, classes)")
    return model


def canonical(archive: bytes) -> bytes:
    """A .keras file's bytes with everything taken out that varies between equal models."""
    result = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(archive)) as source,
        zipfile.ZipFile(result, "w", zipfile.ZIP_STORED) as target,
    ):
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name == "metadata.json":
                content = _dumps({**json.loads(content), "date_saved": ""})
            elif name == "config.json":
                content = _dumps(_renumber(json.loads(content), {}))
            target.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    return result.getvalue()


def _renumber(value: Any, ids: dict[int, int]) -> Any:
    """Replace ids of shared objects by the order in which they come."""
    if isinstance(value, dict):
        return {
            key: ids.setdefault(item, len(ids))
            if key == "shared_object_id"
            else _renumber(item, ids)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_renumber(item, ids) for item in value]
    return value


def _dumps(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
