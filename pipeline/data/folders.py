"""Find a file in a folder that people have made: by downloading, unpacking, or with a library.

Kaggle and 7-Zip write `train-images.idx3-ubyte`, Kaggle also puts each file into a folder, and
torchvision keeps the files in `MNIST/raw`.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pipeline.config.schema import File
from pipeline.data.streams import MirrorError, uncompressed, verified

_DEPTH = 4  # folders below the mirror's
_ENTRIES = 100_000  # files and folders; a search through more takes seconds
_LISTED = 8  # files that an error names
_ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".tar.gz", ".tgz", ".xz", ".bz2")


def find_copy(folder: Path, file: File, rank: int, max_bytes: int) -> Path:
    """Find a file in a folder or below it.

    A file with exactly the sought name in the folder itself, plain or with `.gz`, goes first. Then
    come files up to four folders below, or in a folder of that name. Names are compared without
    case and `.gz`, and with `-`, `_`, `.` and spaces as the same.

    Args:
        folder: the mirror.
        file: the sought name, and the SHA-256 and size if they are pinned.
        rank: 3 for images, 1 for labels.
        max_bytes: the largest uncompressed size.

    Returns:
        The copy with the pinned digest. Without one, the copy that is a valid file.

    Raises:
        MirrorError: when there is no copy, or valid copies differ and no digest is pinned.
    """
    if not folder.exists():
        raise MirrorError("no such folder")
    if not folder.is_dir():
        raise MirrorError("a file, not a folder; unpack it, and give the folder")
    exact = [path for path in (folder / f"{file.name}.gz", folder / file.name) if path.is_file()]
    if len(exact) == 1:
        return exact[0]
    valid: dict[str, Path] = {}
    failures = []
    for copy in exact or _similar(folder, file.name):
        try:
            valid.setdefault(_digest(copy, file, rank, max_bytes), copy)
        except MirrorError as failure:
            failures.append(f"{_shown(copy, folder)}: {failure}")
        if valid and file.sha256 is not None:
            break
    if len(valid) > 1:
        names = " and ".join(_shown(copy, folder) for copy in valid.values())
        raise MirrorError(
            f"{names} differ, and each could be {file.name}: give the folder of the right one, "
            "or its sha256 in the data config"
        )
    if not valid:
        raise MirrorError("; ".join(failures[:_LISTED]))
    return next(iter(valid.values()))


@contextmanager
def open_copy(path: Path) -> Iterator[BinaryIO]:
    """Open a file as a stream of uncompressed bytes.

    Raises:
        MirrorError: when it cannot be opened.
    """
    try:
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise MirrorError(str(error)) from None
    with file:
        yield uncompressed(file)


def _digest(path: Path, file: File, rank: int, max_bytes: int) -> str:
    digest = hashlib.sha256()
    with open_copy(path) as source:
        for chunk in verified(source, file, rank, max_bytes):
            digest.update(chunk)
    return digest.hexdigest()


def _similar(folder: Path, name: str) -> list[Path]:
    """The files in or below a folder whose names, or else whose folders' names, are like `name`.

    Returns:
        Their paths; those nearest to the top first.

    Raises:
        MirrorError: when there is none. It lists what the folder holds.
    """
    files = _files(folder)
    for similar in (
        [path for path in files if _plain(path.name) == _plain(name)],
        [path for path in files if _plain(path.parent.name) == _plain(name)],
    ):
        if similar:
            return similar
    if not files:
        raise MirrorError(f"no {name} in it; it has no files")
    likely = sorted(files, key=lambda path: "idx" not in path.name.lower())
    listed = ", ".join(_shown(path, folder) for path in likely[:_LISTED])
    more = f" and {len(files) - _LISTED} more" if len(files) > _LISTED else ""
    advice = "set the names in data.files"
    if any(path.name.lower().endswith(_ARCHIVES) for path in likely[:_LISTED]):
        advice = "unpack the archive"
    raise MirrorError(f"no {name} in it; it has {listed}{more}; {advice}")


def _files(folder: Path) -> list[Path]:
    """The files in and below a folder, without hidden ones; those nearest to the top first."""
    found = []
    entries = 0
    for parent, folders, names in os.walk(folder, followlinks=True):
        entries += len(folders) + len(names)
        if entries > _ENTRIES:
            raise MirrorError(
                f"it has more than {_ENTRIES} files: give the folder that holds the four files"
            )
        visible = [Path(parent, name) for name in names if not name.startswith(".")]
        found += [path for path in visible if path.is_file()]
        deeper = len(Path(parent).relative_to(folder).parts) < _DEPTH
        folders[:] = [name for name in folders if deeper and not name.startswith(".")]
    return sorted(found, key=lambda path: (len(path.parts), path))


def _plain(name: str) -> str:
    """What all spellings of a file's name have in common."""
    return re.sub(r"[-_. ]+", "-", name.lower().removesuffix(".gz"))


def _shown(path: Path, folder: Path) -> str:
    """A path in a folder on one line."""
    text = str(path.relative_to(folder))
    return text if text.isprintable() else ascii(text)
