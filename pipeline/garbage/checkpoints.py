"""Checkpoints that no training resumes."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeline.config.paths import CHECKPOINTS, DEFAULT_MODEL
from pipeline.garbage.items import Item, file_item, half_removed
from pipeline.sweeps.task import SWEEPS_FOLDER
from pipeline.system.files import md5

DAYS = 7  # for which a training that was interrupted can be resumed
KIND = "checkpoints that no training resumes"
DAMAGED = "damaged checkpoints"


def checkpoint_garbage(
    root: Path, runs: Mapping[str, list[str]], deleted: set[str]
) -> Iterator[Item]:
    """The checkpoints of finished trainings, of deleted runs, and those not touched for a week.

    Call it only while no training runs.

    Args:
        root: the root of the repository.
        runs: the ids of the runs of each training, by the name of its folder.
        deleted: the ids of runs that are garbage.
    """
    top = root / CHECKPOINTS
    recorded = _is_recorded(root)
    for folder in sorted(top.glob("[!.]*")):
        own = runs.get(folder.name, [])
        if (
            not folder.is_dir()
            or folder.is_symlink()
            or (recorded and (folder / "finished").exists())
            or (own and deleted.issuperset(own))
            or _is_abandoned(folder)
        ):
            yield file_item(KIND, folder, root)
        else:
            for path in sorted(folder.glob("damaged-*")):
                yield file_item(DAMAGED, path, root)
    yield from half_removed([top], root)


def trial_checkpoint_garbage(root: Path) -> Iterator[Item]:
    """The checkpoints of trials that were not touched for a week. Call it while no sweep runs."""
    for top in sorted((root / SWEEPS_FOLDER).glob("[!.]*/checkpoints")):
        for folder in sorted(top.glob("[!.]*")):
            if not folder.is_dir() or folder.is_symlink() or _is_abandoned(folder):
                yield file_item(KIND, folder, root)
        yield from half_removed([top], root)


def _is_recorded(root: Path) -> bool:
    """Whether DVC has recorded the model of the workspace, if there is one.

    A kill in the moment before leaves the checkpoints of a finished training. With them, the next
    `dvc repro` neither trains again nor makes another run.
    """
    model, lock = root / DEFAULT_MODEL, root / "dvc.lock"
    if not model.is_file():
        return True
    return lock.is_file() and md5(model) in lock.read_text("utf-8", "replace")


def _is_abandoned(folder: Path) -> bool:
    touched = max(path.lstat().st_mtime for path in (folder, *folder.iterdir()))
    return time.time() - touched > DAYS * 24 * 3600
