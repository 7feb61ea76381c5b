"""Reject hostile model files before Keras reads them.

Keras's `safe_mode` accepts any of Keras's own functions as an activation, and accepts a
configuration of a few bytes that allocates 4 GiB of memory. The lists below were made from Keras
3.15. A test compares them with the public classes of the installed version.
"""

import io
import json
import math
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import keras

from pipeline.artifacts.own_code import import_own_code

_MEMBERS = ["config.json", "metadata.json", "model.weights.h5"]
_CODE = {"__lambda__", "Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
# A configuration may name the classes of these modules, and those of keras.src.
_CLASSES = {
    *("keras", "keras.models", "keras.optimizers.schedules", "keras.quantizers"),
    *(f"keras.{module}" for module in ("constraints", "initializers", "layers", "losses")),
    *(f"keras.{module}" for module in ("metrics", "optimizers", "regularizers")),
}
# A configuration may name the functions of these modules, which only compute with tensors. Keras's
# other modules have functions that write files or download.
_FUNCTIONS = {
    "builtins",  # for names that Keras looks up in the modules below
    *(f"keras.{module}" for module in ("activations", "constraints", "initializers", "losses")),
    *(f"keras.{module}" for module in ("metrics", "ops", "regularizers")),
}
# The limit on integers in a configuration, and on the size of a layer's output for one image.
_MAX_NUMBER = 10**7


def inspect_file(path: Path) -> None:
    """Check a .keras file without loading the model.

    Raises:
        ValueError: when the file names code, or would need more memory than its own size.
    """
    with zipfile.ZipFile(path) as file:
        if sorted(file.namelist()) != _MEMBERS:
            raise ValueError(f"it holds {', '.join(file.namelist())}, not {', '.join(_MEMBERS)}")
        # Keras does not compress the members.
        if sum(member.file_size for member in file.infolist()) > path.stat().st_size:
            raise ValueError("its members unpack to more than the size of the file")
        config = json.loads(file.read("config.json"))
        weights = file.read("model.weights.h5")
    check_config(config)
    stored, (declared, largest) = _stored(weights), declared_sizes(config)
    if declared > stored:
        raise ValueError(f"it declares {declared} weights but holds {stored}")
    if largest > _MAX_NUMBER:
        raise ValueError(f"a layer outputs {largest} numbers per image; the limit is {_MAX_NUMBER}")


def check_config(config: Any) -> bool:
    """Check the configuration of a model, and import the code of this project that it names.

    Returns:
        Whether it names code of this project.

    Raises:
        ValueError: when it names other code, or a huge number.
    """
    foreign = list(_foreign(config))
    for module, name, registered_name in foreign:
        if problem := import_own_code(module, name, registered_name):
            raise ValueError(problem)
    for number in _numbers(config):
        if number > _MAX_NUMBER:
            raise ValueError(f"its configuration has the number {number}; limit: {_MAX_NUMBER}")
    return bool(foreign)


def _foreign(value: Any) -> Iterator[tuple[Any, str, str]]:
    """Yield the classes and functions in a configuration that are not known parts of Keras.

    Each with its module, its name, and the name by which Keras finds it if it is registered.
    """
    if isinstance(value, dict):
        name, module = value.get("class_name"), value.get("module")
        if name == "function":
            known, name = module in _FUNCTIONS, value.get("config")
        elif module is None:
            known = str(name).startswith("__") and name not in _CODE  # a tensor, a slice
        else:
            known = module in _CLASSES or str(module).startswith("keras.src.")
            known = known and name not in _CODE
        if "class_name" in value and not known:
            is_function = value.get("class_name") == "function"
            yield module, str(name), str(name if is_function else value.get("registered_name"))
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _foreign(item)


def _numbers(value: Any, key: str = "") -> Iterator[int]:
    """Yield the integers in a configuration, except those that are not sizes or counts."""
    if isinstance(value, int) and key not in ("seed", "shared_object_id"):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _numbers(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from _numbers(item, key)


def _stored(weights: bytes) -> int:
    """The count of numbers in an HDF5 file. ValueError if they need more bytes than the file."""
    datasets: list[Any] = []
    with h5py.File(io.BytesIO(weights)) as file:
        file.visititems(
            lambda _, item: datasets.append(item) if isinstance(item, h5py.Dataset) else None
        )
        if sum(dataset.nbytes for dataset in datasets) > len(weights):
            raise ValueError("its weights unpack to more than the size of their file")
        return sum(dataset.size for dataset in datasets)


def declared_sizes(config: dict[str, Any]) -> tuple[int, int]:
    """How many weights a configuration declares, and the largest output of a layer for one image.

    The variables get no values, so no memory is allocated for them.
    """
    # Keras would initialise these variables later in the same thread. This thread ends before that.
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(_sizes, config).result()


def _sizes(config: dict[str, Any]) -> tuple[int, int]:
    with keras.StatelessScope(initialize_variables=False):
        model = keras.saving.deserialize_keras_object({**config, "compile_config": None})
    weights = sum(math.prod(variable.shape) for variable in model.weights)
    outputs = (math.prod(n or 1 for n in tensor.shape) for tensor in _outputs(model))
    return weights, max(outputs, default=0)


def _outputs(model: Any) -> Iterator[Any]:
    """The output tensors of a model's layers, including those of nested models."""
    for operation in getattr(model, "operations", model.layers):
        if isinstance(operation, keras.Model):
            yield from _outputs(operation)
        yield from keras.tree.flatten(operation.output)
