"""Files that are written whole or not at all, and their digests."""

import csv
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears at `path` when the block succeeds, complete and on disk.

    Missing folders are created. A block that fails leaves `path` unchanged and no other file. A
    process that is killed leaves at most a dot-file that ends in `.part`; see `remove_parts`. The
    method is that of rename(2): write another file, fsync, replace.

    Raises:
        OSError: naming the file, when the system refuses to write it or the disk is full.
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
            error.filename = str(path)  # a full disk is reported without a file name
        raise


def remove_parts(folder: Path, name: str = "*") -> None:
    """Remove what killed processes left in a folder. No other process may be writing to it."""
    for part in folder.glob(f".{name}.*.part"):
        part.unlink()


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with Unix line ends, atomically: the same bytes on every platform."""
    with atomic_write(path) as file:
        file.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys, indented, atomically; NaN and infinity raise ValueError."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows of equal keys as CSV with a header, atomically."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
