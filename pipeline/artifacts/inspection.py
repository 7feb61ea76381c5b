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

from pipeline.artifacts.cost import Cost, check_calls, check_cost, cost_of
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
_MAX_NUMBER = 10**7  # in a configuration
# The keys of integers that need no memory.
_NO_SIZES = {"seed", "shared_object_id", "decay_steps", "warmup_steps", "first_decay_steps"}


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
    stored, (declared, cost) = _stored(weights), measure(config)
    if declared > stored:
        raise ValueError(f"it declares {declared} weights but holds {stored}")
    check_cost(cost)


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
    check_calls(config)
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
    """Yield the integers in a configuration, except those that need no memory."""
    if isinstance(value, int) and key not in _NO_SIZES:
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


def measure(config: dict[str, Any]) -> tuple[int, Cost]:
    """How many weights a configuration declares, and what the model needs for one image.

    The variables get no values, so no memory is allocated for them.
    """
    # Keras would initialise these variables later in the same thread. This thread ends before that.
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(_measure, config).result()


def _measure(config: dict[str, Any]) -> tuple[int, Cost]:
    with keras.StatelessScope(initialize_variables=False):
        model = keras.saving.deserialize_keras_object({**config, "compile_config": None})
    weights = sum(math.prod(variable.shape) for variable in model.weights)
    return weights, cost_of(model)
