"""Write files atomically (complete or not at all), and compute their digests."""

import codecs
import csv
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Literal

TEMPORARY = "mnist-pipeline-"  # prefix of a temporary folder; `make gc` finds it after a kill


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears at `path`, complete and on disk, when the block succeeds.

    Missing folders are created. If the block fails, `path` is unchanged and there is no other file.
    A killed process leaves at most a dot-file that ends in `.part`; see `remove_parts`. The method
    is that of rename(2): write a temporary file, fsync it, and rename it to `path`.

    Raises:
        OSError: naming the file, when it cannot be written or the disk is full.
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
            error.filename = str(path)  # the error of a full disk has no file name
        raise


def remove_parts(folder: Path, name: str = "*") -> None:
    """Remove the files that killed processes left. No process may be writing to the folder."""
    for part in folder.glob(f".{name}.*.part"):
        part.unlink()


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with Unix line ends, atomically: the same bytes on every platform."""
    with atomic_write(path) as file:
        file.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys, indented, atomically; NaN and infinity raise ValueError."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def write_csv(path: Path, rows: Iterable[dict[str, Any]], columns: Sequence[str] = ()) -> None:
    """Write rows as CSV with a header, atomically.

    Args:
        path: the file to write.
        rows: the values of each row by column.
        columns: the columns to write, in this order. By default those of the first row, and then
            all rows must have the same.
    """
    others: Literal["ignore", "raise"] = "ignore" if columns else "raise"
    rows = iter(rows)
    first = [] if columns else [next(rows)]
    with atomic_write(path) as file:
        # Row by row: as one text, those of a million images would fill the memory.
        text = codecs.getwriter("utf-8")(file)
        writer = csv.DictWriter(text, columns or first[0], extrasaction=others, lineterminator="\n")
        writer.writeheader()
        writer.writerows(chain(first, rows))


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def md5(path: Path) -> str:
    """MD5 of a file's bytes, in hexadecimal, by which DVC knows it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
