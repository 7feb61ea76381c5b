"""A piece of garbage, and how to measure and remove files so that a kill leaves nothing half."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_REMOVED = ".removed-"  # the prefix of a folder that is being removed


@dataclass(frozen=True)
class Item:
    """Something that is no longer used.

    Attributes:
        kind: what it is, as a heading in the plural.
        name: which one it is; unique for its kind.
        size: bytes of its files.
        remove: removes it. It does nothing if it has gone or is in use again. None for a row of the
            MLflow store: `remove_rows` removes many at once.
        row: the id of the row; "" for other garbage.
    """

    kind: str
    name: str
    size: int
    remove: Callable[[], None] | None
    row: str = ""


def file_item(kind: str, path: Path, root: Path) -> Item:
    """An item for a file or a folder below `root`."""
    name = path.relative_to(root) if path.is_relative_to(root) else path
    return Item(kind, str(name), size_of(path), lambda: remove_path(path))


def size_of(path: Path) -> int:
    """Bytes of a file or of all files in a folder. Links count as nothing, and are not followed."""
    if path.is_symlink() or not path.exists():
        return 0
    if path.is_file():
        return path.stat().st_size
    total = 0
    for folder, _, files in os.walk(path):
        for name in files:
            try:
                total += os.lstat(Path(folder) / name).st_size
            except FileNotFoundError:  # another process has removed it
                continue
    return total


def remove_path(path: Path) -> None:
    """Remove a file, a link or a folder, if it exists.

    A folder gets another name first, so that a kill does not leave half of it under its own name.
    """
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    if not path.name.startswith(_REMOVED):
        renamed = path.with_name(_REMOVED + path.name)
        remove_path(renamed)
        path = path.replace(renamed)
    shutil.rmtree(path)


def half_removed(folders: Iterable[Path], root: Path) -> Iterator[Item]:
    """What is left of folders in `folders` whose removal was killed."""
    for folder in folders:
        for path in sorted(folder.glob(f"{_REMOVED}*")):
            yield file_item("folders whose removal was interrupted", path, root)


def show_size(size: float) -> str:
    """A size with a unit: 0 B, 1.5 kB, 20.0 MB, 3,000.0 GB."""
    if size < 1000:
        return f"{size:.0f} B"
    power = min(len(str(int(size))) - 1, 9) // 3
    return f"{size / 1000**power:,.1f} {'kMG'[power - 1]}B"
