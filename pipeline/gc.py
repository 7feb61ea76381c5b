"""Remove what is no longer used, after listing it with sizes.

That is: runs, logged models and experiments that were deleted in MLflow, with their artifacts;
checkpoints that no training resumes; data that no sweep uses; what killed commands left. Everything
stays that a registered model, an experiment of DVC, a branch, a tag or a running process uses, and
each logged model that never had a run. In a terminal, the command asks before it removes anything.

Examples:
    python -m pipeline.gc --dry-run    # only list
    python -m pipeline.gc --yes        # do not ask
"""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from itertools import groupby

from filelock import FileLock, Timeout

from pipeline.config.paths import repository_root
from pipeline.garbage.items import Item, show_size
from pipeline.system import cli
from pipeline.system.errors import UserError

_DVC = "DVC's cache is left to DVC: dvc gc --all-commits --all-experiments --dry"


def main() -> int:
    """List the garbage, ask, and remove it. Return 1 if something could not be removed, else 0."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--dry-run", action="store_true", help="only list")
    choice.add_argument("--yes", action="store_true", help="do not ask")
    arguments = parser.parse_args()

    # Only now: importing MLflow takes seconds.
    from pipeline.garbage.collection import find_garbage, remove_garbage

    root = repository_root()
    lock = FileLock(root / ".dvc" / "tmp" / "gc.lock")
    (root / ".dvc" / "tmp").mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError("another `make gc` is running") from None
    items, notes = find_garbage(root)
    _print_list(items, notes)
    if arguments.dry_run or not items:
        return 0
    if not arguments.yes and sys.stdin.isatty():
        if not _is_wanted():
            print("nothing was removed")
            return 0
        # Before the answer came, a run may have been restored or a training started.
        now = {(item.kind, item.name) for item in find_garbage(root)[0]}
        items = [item for item in items if (item.kind, item.name) in now]
    if remove_garbage(items, root):
        return 1
    print(f"removed: {len(items)}, {show_size(sum(item.size for item in items))}")
    return 0


def _is_wanted() -> bool:
    """Ask. Ctrl-D, which ends the input, means no."""
    try:
        return input("Remove all of it? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _print_list(items: list[Item], notes: list[str]) -> None:
    for kind, group in groupby(sorted(items, key=_order), key=lambda item: item.kind):
        of_kind = list(group)
        print(f"{kind}: {len(of_kind)}, {show_size(sum(item.size for item in of_kind))}")
        for item in of_kind:
            print(f"    {show_size(item.size):>9}  {item.name}")
    for note in notes:
        print(f"left alone: {note}")
    print(_DVC)
    if items:
        print(f"in all: {len(items)}, {show_size(sum(item.size for item in items))}")
    else:
        print("nothing to remove")


def _order(item: Item) -> tuple[str, str]:
    return item.kind, item.name


if __name__ == "__main__":
    cli.run(main)
