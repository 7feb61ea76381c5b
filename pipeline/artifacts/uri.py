"""Resolve a model URI. Every URI leads to a .keras file, which only `load_model` reads.

MLflow's own loaders would run code that a model contains, including pickles.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException

from pipeline.config.paths import DEFAULT_MODEL, repository_root
from pipeline.system.errors import UserError, one_line
from pipeline.tracking.store import use_store


@contextmanager
def resolve_model(uri: str) -> Iterator[Path]:
    """The .keras file of a model, for as long as the block runs.

    Args:
        uri: a path, `runs:/<id>/model`, `models:/<name>@<alias>`, `models:/<name>/<version>`,
            `models:/<model id>`, or `git:<revision>`. The last one is models/model.keras of that
            revision, from DVC. If the file models/model.keras is missing, its path is also resolved
            from DVC, because DVC removes the file before it trains.

    Raises:
        UserError: when there is no such model. The message says where it was looked for.
    """
    with tempfile.TemporaryDirectory() as folder:
        if uri.startswith(("runs:/", "models:/")):
            yield _from_mlflow(uri, Path(folder))
        elif uri.startswith("git:"):
            yield _from_dvc(uri.removeprefix("git:"), Path(folder))
        elif uri == DEFAULT_MODEL and not Path(uri).exists() and Path("dvc.lock").exists():
            yield _from_dvc("", Path(folder))
        else:
            yield Path(uri)


@contextmanager
def initial_model(uri: str | None) -> Iterator[Path | None]:
    """The file of `train.init_from`, for as long as the block runs; None if it is not set.

    Raises:
        UserError: when there is no such model.
    """
    if uri is None:
        yield None
        return
    with resolve_model(uri) as path:
        if not path.is_file():
            raise UserError(f"train.init_from: there is no model file {path}")
        yield path


def check_model_exists(uri: str | None) -> None:
    """Raise UserError when `train.init_from` names a model that does not exist."""
    with initial_model(uri):
        pass


def _from_mlflow(uri: str, folder: Path) -> Path:
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
    repository = repository_root() if revision else Path()
    command = [sys.executable, "-m", "dvc", "get", "--quiet", str(repository), DEFAULT_MODEL]
    command += ["--out", str(path), *(["--rev", revision] if revision else [])]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        where = f"at revision {revision!r}" if revision else "in dvc.lock"
        reason = one_line(result.stderr.removeprefix("ERROR: "))
        raise UserError(f"no {DEFAULT_MODEL} {where}: {reason}")
    return path
