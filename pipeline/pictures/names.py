"""The picture files that a command line names: files, folders, patterns, and names on stdin."""

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

SUFFIXES = {
    *(".avif", ".bmp", ".gif", ".heic", ".heif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm"),
    *(".tif", ".tiff", ".webp"),
}
STDIN = "-"


def picture_files(names: Iterable[str]) -> Iterator[Path]:
    """The files that names stand for, one after the other, so that there may be millions.

    Args:
        names: each is a file; a folder, which stands for the pictures in it and its folders, in
            alphabetical order; a pattern such as `scans/*.png`; or `-`, which stands for names on
            stdin, one a line. A name that stands for nothing, and a folder that cannot be listed,
            are taken for files: `read_picture` says what is wrong with them.
    """
    for name in names:
        if name == STDIN:
            lines = (os.fsdecode(line) for line in sys.stdin.buffer)
            yield from picture_files(text for line in lines if (text := line.rstrip("\r\n")))
        elif os.path.isdir(name):  # noqa: PTH112  # `Path.is_dir` raises where it may not look
            yield from _in_folder(Path(name))
        elif glob.has_magic(name) and not os.path.lexists(name):
            found = sorted(glob.iglob(name, recursive=True))  # noqa: PTH207  # may be absolute
            yield from picture_files(found) if found else [Path(name)]
        else:
            yield Path(name)


def _in_folder(folder: Path) -> Iterator[Path]:
    """The pictures below a folder. Hidden files and folders are left out."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError:
        yield folder
        return
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _in_folder(path)
        elif path.suffix.lower() in SUFFIXES:
            yield path
