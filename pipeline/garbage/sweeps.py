"""Prepared data that no sweep uses, and locks of trials that have ended."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import optuna
from filelock import FileLock, Timeout

from pipeline.config.composition import compose
from pipeline.garbage.items import Item, file_item, half_removed, remove_path
from pipeline.sweeps.data import data_folder
from pipeline.sweeps.storage import Store
from pipeline.sweeps.task import SWEEPS_FOLDER
from pipeline.system.errors import one_line

DATA = "prepared data that no sweep uses"
LOCKS = "locks of trials that have ended"


def sweep_garbage(root: Path, notes: list[str]) -> Iterator[Item]:
    """The garbage in .sweeps/. Call it only while no sweep runs.

    Args:
        root: the root of the repository.
        notes: gets a line for each sweep that cannot be read. Then all data stay.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    top = root / SWEEPS_FOLDER
    used: set[Path] = set()
    unknown = [folder for folder in sorted(top.glob("[!.]*/")) if not (folder / "journal").exists()]
    notes += [
        f"prepared data of sweeps: the study of {folder.relative_to(root)} may be in a database"
        for folder in unknown
    ]
    for journal in sorted(top.glob("[!.]*/journal")):
        store = Store(journal.parent, journal.parent.name)
        try:
            study = store.open()
            ended = {str(trial.number) for trial in study.get_trials() if trial.state.is_finished()}
            locks = [lock for lock in _locks(journal.parent) if lock.stem in ended]
            if locks:
                remove = partial(_remove_locks, journal.parent, locks)
                yield Item(LOCKS, f"{len(locks)} of {store.name}", 0, remove)
            used.add(data_folder(compose(study.user_attrs["base"])))
        except Exception as error:  # a damaged journal, or a configuration that is no longer valid
            unknown.append(journal.parent)
            notes.append(f"{journal.relative_to(root)} cannot be read: {one_line(error)[:200]}")
    if not unknown:
        for folder in sorted((top / ".data").glob("[!.]*")):
            if folder not in used:
                yield file_item(DATA, folder, root)
    yield from half_removed([top / ".data"], root)


def _locks(folder: Path) -> list[Path]:
    return sorted((folder / "locks").glob("*.lock"))


def _remove_locks(folder: Path, locks: list[Path]) -> None:
    """Remove locks, unless the sweep has been started again."""
    running = FileLock(folder / "sweep.lock")
    try:
        with running.acquire(timeout=0):
            for lock in locks:
                remove_path(lock)
    except Timeout:
        return
