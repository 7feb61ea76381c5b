"""Model files for tests, valid and hostile."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest

from pipeline.artifacts.keras_file import load_model, save_model
from pipeline.models import mlp
from pipeline.system.errors import UserError

Change = Callable[[dict[str, Any]], object]  # changes the configuration in a model file


def network() -> keras.Model:
    """A small network with every kind of state; each call gives an equal one."""
    keras.utils.clear_session()  # Keras names layers by counting them in this process
    keras.utils.set_random_seed(3)
    model = mlp((8, 8), 3, depth=2, width=5, batch_norm=True, dropout=0.5)
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy")
    return model


def load_error(path: Path) -> str:
    """The error, on one line, with which `load_model` refuses a file."""
    with pytest.raises(UserError) as error:
        load_model(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


def members(path: Path) -> dict[str, bytes]:
    """The content of each member of a zip file."""
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def write_zip(path: Path, content: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """Write a zip file with these members."""
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, member in content.items():
            file.writestr(name, member)
    return path


def with_config(path: Path, content: dict[str, bytes], config: dict[str, Any]) -> Path:
    """Write a model file with another configuration."""
    return write_zip(path, {**content, "config.json": json.dumps(config).encode()})


def changed_file(folder: Path, change: Change) -> Path:
    """Write a model file, and change its configuration."""
    save_model(network(), folder / "good.keras")
    content = members(folder / "good.keras")
    config = json.loads(content["config.json"])
    change(config)
    return with_config(folder / "bad.keras", content, config)


def class_entry(module: str | None, name: str, /, **config: Any) -> dict[str, Any]:
    """How a configuration names a class."""
    return {"module": module, "class_name": name, "config": config, "registered_name": None}


def function_entry(module: str, name: str) -> dict[str, Any]:
    """How a configuration names a function."""
    return {**class_entry(module, "function"), "config": name, "registered_name": name}


def dense(config: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the first Dense layer in a configuration."""
    layers = config["config"]["layers"]
    return next(layer["config"] for layer in layers if layer["class_name"] == "Dense")
