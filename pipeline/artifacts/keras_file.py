"""Write .keras files in canonical form, so that equal models give equal bytes; read them safely.

Keras writes the date into the metadata, object ids of the running process into the configuration,
and times into the zip archive. None of these describes the model.
"""

import io
import json
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras

from pipeline.artifacts.cost import check_cost, cost_of
from pipeline.artifacts.inspection import check_config, inspect_file, measure
from pipeline.artifacts.own_code import REGISTER
from pipeline.system.errors import UserError, one_line
from pipeline.system.files import TEMPORARY, atomic_write

_LONGEST = 600  # characters of a reason
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip file can store


def save_model(model: keras.Model, path: Path) -> None:
    """Write a .keras file, atomically and in canonical form. `keras.models.load_model` reads it."""
    with TemporaryDirectory(prefix=TEMPORARY) as folder:
        saved = Path(folder) / "model.keras"  # Keras can only save to a path
        model.save(saved)
        content = canonical(saved.read_bytes())
    with atomic_write(path) as file:
        file.write(content)


def load_model(path: Path, uri: str | None = None) -> keras.Model:
    """Read a .keras file. Reject one that contains code or needs more memory than its own size.

    Its layers and functions must be Keras's own, or registered in a module that `train` depends on;
    see `pipeline.artifacts.own_code`.

    Args:
        path: the file.
        uri: the model URI that errors show; None shows the path.

    Raises:
        UserError: when the file is missing, damaged, or not a classifier of images.
    """
    uri = uri or str(path)
    if not path.is_file():
        raise UserError(f"there is no model file {uri}")
    if path.suffix != ".keras":  # Keras decides by the name
        raise UserError(f"{uri} is not a .keras file")
    try:
        inspect_file(path)
        model = keras.models.load_model(path)
    except Exception as error:  # a damaged file can raise nearly any error
        raise UserError(f"{uri} cannot be loaded as a model: {_reason(error)}") from error
    return check_classifier(model, uri)


def check_savable(model: keras.Model) -> None:
    """Check before a training that `load_model` will be able to read the model.

    Raises:
        UserError: when a layer or function of the project is not registered, Keras cannot make it
            again from what it stores, or the model needs more than `check_cost` allows.
    """
    try:
        config = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
        if check_config(config):
            measure(config)  # makes the model again
    except Exception as error:  # the user's code can raise any error
        raise UserError(
            f"model: it could be trained, but not loaded again: {_reason(error)} (a layer or "
            f"function of your own needs a name, {REGISTER}, and all arguments in get_config())"
        ) from error
    try:
        check_cost(cost_of(model))
    except ValueError as error:
        raise UserError(f"model: it could be trained, but not loaded again: {error}") from None


def _reason(error: Exception) -> str:
    """The cause that Keras's message ends with, after a dump of the configuration."""
    text = one_line(error).rpartition("Exception encountered: ")[2]
    if len(text) <= _LONGEST:
        return text
    # Some messages begin with what is wrong, others end with it after a dump.
    return f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"


def check_classifier(model: Any, uri: str) -> keras.Model:
    """Return the model if it takes images and returns class probabilities; else raise UserError."""
    if len(getattr(model, "inputs", ())) != 1 or len(model.inputs[0].shape) != 3:
        raise UserError(f"{uri} does not take images of shape (N, height, width)")
    if None in model.inputs[0].shape[1:] or model.inputs[0].dtype == "string":
        raise UserError(f"{uri} does not take numeric images of one size")
    if len(model.outputs) != 1 or len(model.outputs[0].shape) != 2:
        raise UserError(f"{uri} does not return class probabilities of shape (N, classes)")
    return model


def canonical(archive: bytes) -> bytes:
    """The bytes of a .keras file, without the parts that differ between equal models."""
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
    """Replace the ids of shared objects by the order of their first use."""
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
