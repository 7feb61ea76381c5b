"""Files that are never seen half-written, and their digests."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears at `path` only when the block ends well, complete and on disk.

    Folders are created. A failed block leaves `path` as it was and nothing beside it; a killed one
    leaves at most a dot-file that ends in `.part`, see `remove_parts`. Follows the recipe of
    rename(2): write beside, fsync, replace.

    Raises:
        OSError: naming the file, where the system refuses it or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    written = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        written.chmod(0o666 & ~_umask())  # mkstemp makes files that only their owner can read
        written.replace(path)
    except BaseException as error:
        written.unlink()
        if isinstance(error, OSError) and error.errno and error.filename is None:
            error.filename = str(path)  # that the disk is full is said of no file
        raise


def remove_parts(folder: Path, name: str = "*") -> None:
    """Remove what killed writers left in a folder that no living one writes to."""
    for part in folder.glob(f".{name}.*.part"):
        part.unlink()


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with Unix line ends, atomically: the same bytes on every platform."""
    with atomic_write(path) as file:
        file.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys, indented, atomically; NaN and infinity raise ValueError."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
