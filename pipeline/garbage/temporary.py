"""Files and folders that killed commands left: of DVC, and of this project."""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline.garbage.items import Item, file_item, half_removed
from pipeline.system.files import TEMPORARY
from pipeline.system.process import processes_in

KIND = "what killed commands left"
_EXPERIMENTS = (Path(".dvc/tmp/exps"), Path(".dvc/tmp/exps/standalone"))
# Where `atomic_write` leaves a file when its process is killed.
_WRITTEN = ("conf", "data", "models", "exports", "reports", "docs/learn", ".checkpoints", ".sweeps")
_BUILD = "build"  # where programs write that only look, so that they may be running
_DAY = 24 * 3600  # longer than such a program needs a temporary file or folder


def temporary_garbage(root: Path) -> Iterator[Item]:
    """The temporary files. Call it only while no process works in the project.

    Args:
        root: the root of the repository.
    """
    for parent in _EXPERIMENTS:
        for path in sorted((root / parent).glob("tmp*")):
            yield file_item(KIND, path, root)
    for path in [*root.glob(".*.part"), *_parts(root)]:
        if path.is_file() or path.is_symlink():
            yield file_item(KIND, path, root)
    build = root / _BUILD
    shared = [*build.rglob(".*.part"), *build.glob(f"{TEMPORARY}*")]
    shared += Path(tempfile.gettempdir()).glob(f"{TEMPORARY}*")
    for path in sorted(shared):
        if _is_old(path) and not any(processes_in(path)):
            yield file_item(KIND, path, root)
    yield from half_removed([root / parent for parent in _EXPERIMENTS], root)


def _parts(root: Path) -> list[Path]:
    return sorted(path for name in _WRITTEN for path in (root / name).rglob(".*.part"))


def _is_old(path: Path) -> bool:
    """Whether a file or folder is this user's, and a day old."""
    try:
        status = path.lstat()
    except FileNotFoundError:  # its command has ended
        return False
    return status.st_uid == os.getuid() and time.time() - status.st_mtime > _DAY
