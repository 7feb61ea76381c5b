"""The paths of the repository and its configuration, and the config groups."""

import os
from pathlib import Path

from pipeline.system.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[2]
CONF = REPOSITORY / "conf"
# SQLite takes paths of 511 bytes; MLflow's database and its journal add 20.
_LONGEST = 490
DEFAULT_MODEL = "models/model.keras"  # what `train` writes
COMPOSED = "composed.yaml"  # what `compose` writes; also an artifact of a training
CHECKPOINTS = ".checkpoints"


def repository_root() -> Path:
    """The real repository, which holds the MLflow store, the checkpoints and the sweeps.

    DVC runs a queued experiment in a temporary clone and names the real repository in DVC_ROOT.
    """
    return Path(os.environ.get("DVC_ROOT", REPOSITORY))


def check_root() -> None:
    """Check that SQLite can open files in the real repository, before anything runs.

    Raises:
        UserError: when its path is too long.
    """
    length = len(os.fsencode(repository_root()))
    if length > _LONGEST:
        raise UserError(
            f"the path of this folder has {length} bytes, and MLflow's database allows {_LONGEST}: "
            "move the project to a folder with a shorter path"
        )


def git_hint(name: str) -> str:
    """What to type if git does not know a file, for the end of an error message; else "".

    DVC runs a queued experiment in a clone, which has only the files that git knows.
    """
    root = repository_root()
    if root == REPOSITORY or (REPOSITORY / name).exists() or not (root / name).exists():
        return ""
    return f"; git does not know {name}, so this experiment has no copy of it: `git add {name}`"


def config_groups(conf: Path = CONF) -> set[str]:
    """The names of the config groups: the folders in `conf`."""
    return {path.relative_to(conf).as_posix() for path in conf.rglob("*") if path.is_dir()}


def options_of(group: str, conf: Path = CONF) -> list[str]:
    """The choices of a config group, in alphabetical order."""
    return sorted(path.stem for path in (conf / group).glob("*.yaml"))
