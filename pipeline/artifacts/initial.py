"""The model that a training starts from: `train.init_from`."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from pipeline.artifacts.model_path import names_file
from pipeline.artifacts.uri import locked_model, locked_stage, resolve_model
from pipeline.config.paths import COMPOSED, DEFAULT_MODEL
from pipeline.config.schema import INITIAL_MODEL, Config
from pipeline.config.yaml_files import dump_config
from pipeline.system.dvc import LOCK
from pipeline.system.errors import UserError
from pipeline.system.files import sha256
from pipeline.tracking.lookup import runs_of_file


@contextmanager
def initial_model(uri: str | None, digest: str) -> Iterator[Path | None]:
    """The file of `train.init_from`, for as long as the block runs; None if it is not set.

    An alias may now stand for another model. Then the one that is wanted is found in its run.

    Args:
        uri: the URI of the model.
        digest: its SHA-256, in hexadecimal; "" if any model is wanted to which the URI leads.

    Raises:
        UserError: when there is no such model.
    """
    if uri is None:
        yield None
        return
    with ExitStack() as stack:
        try:
            path = _find(stack, uri, digest)
        except UserError as error:
            raise UserError(f"train.init_from: {error}") from None
        yield path


def digest_now(uri: str | None) -> str:
    """SHA-256 of the model to which `train.init_from` leads now; "" if it is not set.

    Raises:
        UserError: when there is no such model.
    """
    with initial_model(uri, "") as path:
        return sha256(path) if path else ""


def initial_digest(cfg: Config) -> str:
    """SHA-256 of the model that the training should start from; "" if there is none.

    A file is read each time. Another URI, such as an alias, may now lead to the result of this very
    training. So the digest in dvc.lock stays as long as the training there has the same settings: a
    second `dvc repro` has nothing to do, and a clone needs no MLflow store.

    Raises:
        UserError: when there is no such model.
    """
    if (uri := cfg.train.init_from) is None:
        return ""
    recorded = _recorded_digest(cfg)
    if recorded and (uri == DEFAULT_MODEL or not names_file(uri)):
        return recorded
    try:
        return digest_now(uri)
    except UserError:
        if recorded:  # a clone does not have the file, and may not need it
            return recorded
        raise


def _find(stack: ExitStack, uri: str, digest: str) -> Path:
    try:
        # A killed training may have left its own result there.
        in_lock = uri == DEFAULT_MODEL and LOCK.exists()
        path = stack.enter_context(locked_model() if in_lock else resolve_model(uri))
        if digest in ("", sha256(path)):
            return path
        problem = UserError(
            f"{uri} is now another model, and no run has the one with the SHA-256 "
            f"{digest[:12]}...: name it by git:<revision>, or change a setting to use the new one"
        )
    except UserError as error:
        problem = error
    for run in runs_of_file(digest) if digest else []:
        with suppress(UserError):  # another run may still have it
            path = stack.enter_context(resolve_model(f"runs:/{run.info.run_id}/model"))
            if sha256(path) == digest:
                return path
    raise problem


def _recorded_digest(cfg: Config) -> str:
    """What dvc.lock has, if the training there has the same settings; else ""."""
    params = dict(locked_stage("train").get("params", {}).get(COMPOSED, {}))
    digest = str(params.pop(INITIAL_MODEL, ""))
    composed = yaml.safe_load(dump_config(cfg))
    return digest if all(_value(composed, key) == params[key] for key in params) else ""


def _value(values: Any, key: str) -> Any:
    """The value of a dotted key; None if there is none: an older dvc.lock may have other keys."""
    for part in key.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values
