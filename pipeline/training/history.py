"""The metrics of each epoch, and the best epoch."""

import csv
from pathlib import Path

from pipeline.system.files import write_csv

Row = dict[str, float]  # the metrics of one epoch, by name

# The columns of history.csv.
COLUMNS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")


def best_epoch(history: list[Row]) -> Row:
    """The first epoch with the lowest validation loss."""
    return min(history, key=lambda row: row["val_loss"])


def write_history(history: list[Row], path: Path) -> None:
    """Write one CSV row per epoch, with numbers in full precision."""
    # Columns that differ from run to run, such as images per second, are left out.
    write_csv(path, history, COLUMNS)


def read_history(path: Path) -> list[Row]:
    """Read what `write_history` wrote."""
    return parse_history(path.read_text())


def parse_history(text: str) -> list[Row]:
    """The epochs of the text of a history.csv.

    Raises:
        ValueError: for a value that is not a number.
    """
    rows = csv.DictReader(text.splitlines())
    numbers = [{key: float(value) for key, value in row.items()} for row in rows]
    return [{**row, "epoch": int(row["epoch"])} for row in numbers]
