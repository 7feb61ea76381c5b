"""Where a model is. Every address ends in a .keras file, which `archive.load` alone reads.

MLflow's own loaders would run what a model brings along, pickles included.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.command import UserError
from pipeline.config import root

DEFAULT = "models/model.keras"


@contextmanager
def model_file(address: str) -> Iterator[Path]:
    """The .keras file of a model, as long as the block lasts.

    Args:
        address: a path, `runs:/<id>/model`, `models:/<name>@<alias>`, `models:/<name>/<version>`,
            `models:/<model id>`, or `git:<revision>`: models/model.keras of that revision, from
            DVC. So is the path of models/model.keras itself where the file is away: DVC removes it
            before it trains.

    Raises:
        UserError: when there is no such model; says where it was looked for.
    """
    with tempfile.TemporaryDirectory() as folder:
        if address.startswith(("runs:/", "models:/")):
            yield _from_mlflow(address, folder)
        elif address.startswith("git:"):
            yield _from_dvc(address.removeprefix("git:"), Path(folder))
        elif address == DEFAULT and not Path(address).exists() and Path("dvc.lock").exists():
            yield _from_dvc(None, Path(folder))
        else:
            yield Path(address)


@contextmanager
def initial(address: str | None) -> Iterator[Path | None]:
    """The file of `train.init_from`, where it names one."""
    if address is None:
        yield None
        return
    with model_file(address) as path:
        if not path.is_file():
            raise UserError(f"train.init_from: there is no model file {path}")
        yield path


def _from_mlflow(address: str, folder: str) -> Path:
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    from pipeline import tracking

    tracking.use_store()
    try:
        # mlflow.artifacts.download_artifacts would take `models:/<id>/data` for a version.
        artifacts = get_artifact_repository(address.rstrip("/"))
        # The name that MLflow's Keras flavor gives to the file.
        found = artifacts.download_artifacts("data/model.keras", folder)
    except (MlflowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{address} is no Keras model in {mlflow.get_tracking_uri()}: {reason}"
        ) from None
    return Path(found)


def _from_dvc(revision: str | None, folder: Path) -> Path:
    """Models/model.keras as a revision's dvc.lock has it, or the workspace's."""
    import dvc.api
    from dvc.exceptions import DvcException
    from dvc.scm import SCMError

    repository = str(root()) if revision else "."
    try:
        content = dvc.api.read(DEFAULT, repository, revision, mode="rb")
    except (DvcException, SCMError, OSError) as error:
        reason = " ".join(str(error).split())
        where = f"at revision {revision!r}" if revision else "in dvc.lock"
        raise UserError(f"no {DEFAULT} {where}: {reason}") from None
    path = folder / "model.keras"
    path.write_bytes(content)
    return path
