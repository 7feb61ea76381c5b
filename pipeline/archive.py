"""A model file in canonical form: the same bytes for the same model, whenever it is written.

Keras stamps the date into a .keras file's metadata, ids of the running process into its
configuration, and times into the zip around them. None of them says anything about the model.
"""

import io
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.command import UserError
from pipeline.files import atomic_write

if TYPE_CHECKING:
    import keras

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
    """Read a .keras file; code in it is refused (`safe_mode`).

    Args:
        path: the file.
        address: what errors call it, where it was found under another name.

    Raises:
        UserError: when it is missing, damaged, or not a model that answers images with classes.
    """
    import keras

    address = address or str(path)
    try:
        model = keras.models.load_model(path)
    except Exception as error:  # Keras raises nearly everything at a damaged file
        if not path.is_file():
            raise UserError(f"there is no model file {address}") from None
        reason = " ".join(str(error).split())
        raise UserError(f"{address} is not a model that can be loaded: {reason[:300]}") from error
    return check(model, address)


def check(model: Any, address: str) -> "keras.Model":
    """Return a model that takes images and gives class probabilities, and refuse any other."""
    if len(getattr(model, "inputs", ())) != 1 or len(model.inputs[0].shape) != 3:
        raise UserError(f"{address} does not take images of shape (N, height, width)")
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
