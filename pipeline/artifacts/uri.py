"""Resolve a model URI. Every URI leads to a .keras file, which only `load_model` reads.

MLflow's own loaders would run code that a model contains, including pickles.
"""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException

from pipeline.artifacts.model_path import RECORDED, REVISION, model_path, names_file
from pipeline.config.paths import DEFAULT_MODEL, repository_root
from pipeline.config.yaml_files import read_yaml
from pipeline.system.dvc import (
    LOCK,
    cache_folder,
    failure,
    is_complete,
    read_config,
    read_lock,
    run_dvc,
)
from pipeline.system.errors import UserError, one_line
from pipeline.system.files import TEMPORARY
from pipeline.system.git import text_at
from pipeline.tracking.store import use_store


@contextmanager
def resolve_model(uri: str) -> Iterator[Path]:
    """The .keras file of a model, for as long as the block runs.

    Args:
        uri: a path, `runs:/<id>/model`, `models:/<name>@<alias>`, `models:/<name>/<version>`,
            `models:/<model id>`, or `git:<revision>`. The last one is models/model.keras of that
            revision, from DVC. See also `names_file`.

    Raises:
        UserError: when there is no such model. The message says where it was looked for.
    """
    with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:
        if names_file(uri):
            yield model_path(uri)
        elif uri.startswith(RECORDED):
            yield _from_mlflow(uri, Path(folder))
        elif uri == REVISION:
            raise UserError("git: names no revision, such as git:HEAD~1")
        else:
            yield _from_dvc(
                uri.removeprefix(REVISION) if uri != DEFAULT_MODEL else "", Path(folder)
            )


@contextmanager
def locked_model() -> Iterator[Path]:
    """The models/model.keras that the workspace's dvc.lock names, for as long as the block runs.

    The file in the workspace may be another one: a killed training may have left its result there.

    Raises:
        UserError: when DVC does not have it.
    """
    outputs = locked_stage("train").get("outs", [])
    digests = [out["md5"] for out in outputs if out["path"] == DEFAULT_MODEL]
    with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:
        path = Path(folder) / "model.keras"
        cached = [cache_folder() / digest[:2] / digest[2:] for digest in digests]
        if cached and cached[0].is_file():
            shutil.copyfile(cached[0], path)
            yield path
        else:
            yield _from_dvc("", Path(folder))


def locked_stage(name: str) -> dict[str, Any]:
    """What the workspace's dvc.lock has of a stage; {} if it does not have it or is damaged.

    PyYAML alone would read the 1e-05 that DVC writes as a text.
    """
    if not is_complete(read_lock() or ""):
        return {}
    return dict(read_yaml(LOCK, "")["stages"].get(name, {}))


def _from_mlflow(uri: str, folder: Path) -> Path:
    if re.fullmatch("runs:/[^/]+/?", uri):
        raise UserError(f"{uri} names a run; its model is {uri.rstrip('/')}/model")
    use_store()
    message = f"{uri} is not a Keras model in {mlflow.get_tracking_uri()}"
    try:
        downloaded = mlflow.artifacts.download_artifacts(uri.rstrip("/"), dst_path=str(folder))
    except (MlflowException, OSError) as error:
        raise UserError(f"{message}: {one_line(error)}") from None
    # The name that MLflow's Keras flavor gives to the file.
    path = Path(downloaded) / "data" / "model.keras"
    if not path.is_file():
        raise UserError(f"{message}: it has no data/model.keras")
    return path


def _from_dvc(revision: str, folder: Path) -> Path:
    """The file models/model.keras of a git revision; "" means the workspace's dvc.lock."""
    path = folder / "model.keras"
    read_config()
    repository = repository_root() if revision else Path()
    revisions = [f"--rev={revision}"] if revision else []
    result = run_dvc("get", str(repository), DEFAULT_MODEL, "--out", str(path), *revisions)
    if result.returncode:
        raise UserError(_dvc_failure(revision, failure(result)))
    return path


def _dvc_failure(revision: str, reason: str) -> str:
    """Why DVC has no model of a revision, and what to do.

    Args:
        revision: as for `_from_dvc`.
        reason: DVC's own message.
    """
    if "not a git repository" in reason:
        return f"git:{revision} needs git, but {repository_root()} is not a git repository"
    if "unknown Git revision" in reason:
        return f"there is no git revision {revision!r}"
    lock = read_lock() or ""
    if not revision and not is_complete(lock):
        return f"there is no {DEFAULT_MODEL}, and {LOCK} is damaged: run `make repro`"
    if not revision and DEFAULT_MODEL in lock:
        return (
            "the model of dvc.lock is not in DVC's cache: `make repro` trains it, and `dvc pull` "
            "gets it if there is a remote"
        )
    if revision and DEFAULT_MODEL in (text_at(revision, str(LOCK), repository_root()) or ""):
        return (
            f"the model of revision {revision!r} is not in DVC's cache: `dvc fetch --all-commits` "
            "gets it if there is a remote; else check the revision out and run `make repro`"
        )
    where = f"at revision {revision!r}" if revision else "in dvc.lock"
    return f"no {DEFAULT_MODEL} {where}: {one_line(reason)}"
