"""The model that a training starts from: `train.init_from`."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from pipeline.artifacts.uri import resolve_model
from pipeline.config.paths import DEFAULT_MODEL
from pipeline.config.schema import INITIAL_MODEL
from pipeline.system.dvc import is_complete, read_lock
from pipeline.system.errors import UserError
from pipeline.system.files import sha256


@contextmanager
def initial_model(uri: str | None) -> Iterator[Path | None]:
    """The file of `train.init_from`, for as long as the block runs; None if it is not set.

    Raises:
        UserError: when there is no such model.
    """
    if uri is None:
        yield None
        return
    with ExitStack() as stack:
        try:
            path = stack.enter_context(resolve_model(uri))
        except UserError as error:
            raise UserError(f"train.init_from: {error}") from None
        yield path


def digest_now(uri: str | None) -> str:
    """SHA-256 of the model of `train.init_from`, in hexadecimal; "" if it is not set.

    Raises:
        UserError: when there is no such model.
    """
    with initial_model(uri) as path:
        return sha256(path) if path else ""


def initial_digest(uri: str) -> str:
    """SHA-256 of the model of `train.init_from`, so that DVC trains again when it has changed.

    An alias may stand for another model by now, and a file may have other content. A clone may not
    have the model, and needs none to use what was trained: then it is the digest in dvc.lock. It is
    "" for models/model.keras, because no stage can depend on its own output.

    Args:
        uri: the URI of the model.

    Raises:
        UserError: when there is no such model, and dvc.lock has no training that started from it.
    """
    if uri == DEFAULT_MODEL:
        return ""
    try:
        return digest_now(uri)
    except UserError:
        lock = read_lock() or ""
        stages: dict[str, Any] = yaml.safe_load(lock)["stages"] if is_complete(lock) else {}
        before = stages.get("train", {}).get("params", {}).get("composed.yaml", {})
        if before.get("train", {}).get("init_from") == uri and before.get(INITIAL_MODEL):
            return str(before[INITIAL_MODEL])
        raise
