"""All garbage of a project, and what is left alone because something may use it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import mlflow
from tqdm import tqdm

from pipeline.garbage.checkpoints import checkpoint_garbage, trial_checkpoint_garbage
from pipeline.garbage.items import Item
from pipeline.garbage.processes import working_processes
from pipeline.garbage.store import kept_runs, remove_rows, store_garbage
from pipeline.garbage.sweeps import sweep_garbage
from pipeline.garbage.temporary import temporary_garbage
from pipeline.system.colour import print_error
from pipeline.system.errors import UserError, one_line
from pipeline.tracking.store import has_store, is_local_store, use_store


def find_garbage(root: Path) -> tuple[list[Item], list[str]]:
    """Find what is no longer used.

    Args:
        root: the root of the repository.

    Returns:
        The garbage in the order in which it can be removed, and a line for what is left alone.

    Raises:
        UserError: when the MLflow store cannot be read.
    """
    items: list[Item] = []
    notes: list[str] = []
    trainings: dict[str, list[str]] = {}
    deleted: set[str] = set()
    use_store()
    if not is_local_store():
        notes.append("MLflow's runs and artifacts: `mlflow gc` removes them where the store is")
    elif not has_store():
        if (root / "mlruns").is_dir():
            notes.append("mlruns: there is no mlflow.db to say which artifacts are in use")
    else:
        items, rows = store_garbage(root)
        notes += kept_runs(rows)
        trainings, deleted = rows.trainings, rows.garbage_runs
    if working := working_processes(root):
        notes.append(
            "checkpoints, data of sweeps and temporary files, while these run: "
            + ", ".join(working)
        )
    else:
        items += checkpoint_garbage(root, trainings, deleted)
        items += trial_checkpoint_garbage(root)
        items += sweep_garbage(root, notes)
        items += temporary_garbage(root)
    return items, notes


def remove_garbage(items: list[Item], root: Path) -> int:
    """Remove garbage. What cannot be removed is named on stderr; the rest goes.

    Returns:
        The number of errors.
    """
    errors = 0
    removals: list[Callable[[], None]] = [
        partial(remove_rows, items, root, mlflow.get_tracking_uri())
    ]
    removals += [item.remove for item in items if item.remove]
    for remove in tqdm(removals, desc="removing", leave=False, disable=None):  # only in a terminal
        try:
            remove()
        except (UserError, OSError) as error:
            errors += 1
            print_error(one_line(error))
    return errors
