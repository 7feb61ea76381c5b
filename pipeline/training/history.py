"""The metrics of each epoch, and the best epoch; the files of metrics that the stages write."""

import csv
import json
import math
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

from pipeline.system.errors import UserError, one_line
from pipeline.system.files import write_csv

T = TypeVar("T")

Row = dict[str, float]  # the metrics of one epoch, by name

# The columns of history.csv.
COLUMNS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
ROBUST = "robust_accuracy"  # on corrupted validation images; only sweeps that ask for it have it
# What the metrics files have at least.
VALIDATION_METRICS = ("val_loss", "val_accuracy")
TEST_METRICS = ("test_loss", "test_accuracy")


def best_epoch(history: list[Row]) -> Row:
    """The epoch with the highest validation accuracy; of equal ones, that with the lowest loss.

    The loss alone often chooses an epoch in the middle of a long training. Later epochs make fewer
    mistakes, but their loss is higher: they are surer of these mistakes, or, with smoothed labels,
    less sure of all answers.
    """
    return max(history, key=lambda row: (row["val_accuracy"], -row["val_loss"]))


def write_history(history: list[Row], path: Path) -> None:
    """Write one CSV row per epoch, with numbers in full precision."""
    # Columns that differ from run to run, such as images per second, are left out.
    write_csv(path, history, COLUMNS)


def read_history(path: Path) -> list[Row]:
    """Read what `write_history` wrote.

    Raises:
        UserError: when the file is missing or damaged.
    """
    return _read(path, parse_history)


def parse_history(text: str) -> list[Row]:
    """The epochs of the text of a history.csv: one or more.

    Raises:
        ValueError: for text that is not such a file.
    """
    rows = list(csv.DictReader(text.splitlines()))
    if not rows or not {*rows[0]} >= {"epoch", *VALIDATION_METRICS}:
        raise ValueError(f"it has no epochs with {', '.join(VALIDATION_METRICS)}")
    try:
        numbers = [{key: float(value) for key, value in row.items()} for row in rows]
    except TypeError:  # more or fewer values than columns
        raise ValueError("a row has more or fewer values than there are columns") from None
    return [{**row, "epoch": int(row["epoch"])} for row in numbers]


def read_metrics(path: Path, needed: Collection[str]) -> dict[str, float]:
    """Read a metrics file of a stage.

    Args:
        path: the file.
        needed: metrics that it must have.

    Raises:
        UserError: when the file is missing or damaged.
    """
    return _read(path, lambda text: parse_metrics(text, needed))


def parse_metrics(text: str, needed: Collection[str]) -> dict[str, float]:
    """The numbers of the text of a metrics file, by name.

    Args:
        text: JSON.
        needed: metrics that it must have.

    Raises:
        ValueError: for text that is not such a file.
    """
    metrics = json.loads(text)
    if not isinstance(metrics, dict) or not metrics.keys() >= {*needed}:
        raise ValueError(f"it has no {' and '.join(needed)}")
    for name, value in metrics.items():
        if type(value) not in (int, float) or not math.isfinite(value):
            raise ValueError(f"{name} is not a number: {value!r:.100}")
    return metrics


def _read(path: Path, parse: Callable[[str], T]) -> T:
    """Parse a file. DVC writes it again, because it sees that the file has changed."""
    try:
        return parse(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `dvc repro` first") from None
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        problem = error.strerror if isinstance(error, OSError) else one_line(error)
        raise UserError(f"{path} is damaged: {problem}; `dvc repro` restores it") from None
