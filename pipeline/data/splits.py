"""The prepared data: how it is stored and read."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.system.errors import UserError, one_line
from pipeline.system.files import atomic_write, sha256

_PART = 10_000  # images


@dataclass(frozen=True)
class Split:
    """Images, uint8 of shape (N, height, width), and their labels, uint8 of shape (N,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def save_split(
    prepared: Path, name: str, split: Split, chosen: NDArray[np.bool_] | None = None
) -> None:
    """Write a split, or the images that a mask of shape (N,) chooses, as two .npy files.

    Only a part of the images is in memory at a time.
    """
    count = len(split.labels) if chosen is None else int(chosen.sum())
    for part, array in (("images", split.images), ("labels", split.labels)):
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, *array.shape[1:])}
        with atomic_write(prepared / f"{name}_{part}.npy") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for rows in parts(len(array)):
                values = array[rows] if chosen is None else array[rows][chosen[rows]]
                file.write(values.tobytes())


def parts(count: int) -> Iterator[slice]:
    """Slices that cover `count` images, so that only a part of them is in memory at a time."""
    return (slice(start, start + _PART) for start in range(0, count, _PART))


def load_split(prepared: Path, name: str) -> Split:
    """Memory-map a split.

    Raises:
        UserError: when a file is missing, or has no images or no labels.
    """
    arrays = []
    for part, ndim in (("images", 3), ("labels", 1)):
        path = prepared / f"{name}_{part}.npy"
        try:
            arrays.append(np.load(path, mmap_mode="r", allow_pickle=False))
        except FileNotFoundError:
            raise _missing(path) from None
        except (OSError, ValueError, EOFError) as error:  # EOFError: an empty file
            raise _damaged(path, error) from None
        if arrays[-1].dtype != np.uint8 or arrays[-1].ndim != ndim:
            raise _damaged(path, f"{arrays[-1].ndim} dimensions of {arrays[-1].dtype}")
    if len(arrays[0]) != len(arrays[1]):
        raise _damaged(path, f"{len(arrays[1])} labels for {len(arrays[0])} images")
    return Split(*arrays)


def load_stats(prepared: Path) -> dict[str, Any]:
    """Read stats.json: image size, number of classes, counts."""
    path = prepared / "stats.json"
    try:
        stats: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if not stats.keys() >= {"height", "width", "num_classes", "images"}:
            raise ValueError("it has no size or number of images")
    except FileNotFoundError:
        raise _missing(path) from None
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise _damaged(path, error) from None
    return stats


def check_class_names(names: Sequence[str] | None, classes: int) -> None:
    """Check that there is a name for each class. None stands for the numbers of the classes.

    Raises:
        UserError: when there are fewer or more.
    """
    if names is not None and len(names) != classes:
        raise UserError(
            f"data.class_names: {len(names)} names for the {classes} classes of the data: "
            f"write {classes} names in conf/data, or null"
        )


def is_prepared(prepared: Path) -> bool:
    """Whether `prepare` has completed a folder."""
    return (prepared / "stats.json").is_file()  # the last file that it writes


def data_digest(prepared: Path, splits: Sequence[str] = ("train", "validation")) -> str:
    """SHA-256, in hexadecimal, over the names and contents of the files of some splits.

    The validation results of two runs can be compared if their digests are equal.

    Raises:
        UserError: when a file is missing or cannot be read.
    """
    result = hashlib.sha256()
    for split in splits:
        for part in ("images", "labels"):
            name = f"{split}_{part}.npy"
            try:
                result.update(f"{sha256(prepared / name)}  {name}\n".encode())
            except FileNotFoundError:
                raise _missing(prepared / name) from None
            except OSError as error:
                raise _damaged(prepared / name, error) from None
    return result.hexdigest()


def _missing(path: Path) -> UserError:
    return UserError(f"{path} is missing: run `dvc repro prepare` first")


def _damaged(path: Path, problem: object) -> UserError:
    if isinstance(problem, OSError):
        problem = problem.strerror
    return UserError(f"{path} is damaged: {one_line(problem)}; run `dvc repro -f prepare`")
