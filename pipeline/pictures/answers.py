"""Write the answers of a model to pictures: as a table, as CSV or as JSON."""

import csv
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.pictures.files import display_name
from pipeline.system.colour import print_error

FORMATS = ("table", "csv", "json")


@dataclass(frozen=True)
class Answer:
    """What a model answers to a file.

    Attributes:
        path: the file.
        probabilities: of each class, float32 of shape (classes,); None if the file was refused.
        reason: why it was refused.
    """

    path: Path
    probabilities: NDArray[np.float32] | None = None
    reason: str = ""


class Writer(Protocol):
    """Writes answers to stdout, one after the other."""

    def write(self, answer: Answer) -> None:
        """Write one answer."""

    def close(self) -> None:
        """Write what ends the output."""


def make_writer(form: str) -> Writer:
    """The writer of a format of `FORMATS`."""
    writers: dict[str, type[Writer]] = {"table": _Table, "csv": _Csv, "json": _Json}
    return writers[form]()


class _Table:
    """A line for each file: its name, the digit, its probability. Refused files are on stderr."""

    def write(self, answer: Answer) -> None:
        row = answer.probabilities
        if row is None:
            print_error(answer.reason)
        else:
            print(f"{display_name(answer.path)}\t{row.argmax()}\t{row.max():.4f}", flush=True)

    def close(self) -> None:
        pass


class _Csv:
    """Columns file, digit, probability and reason; a row for each file."""

    def __init__(self) -> None:
        self.writer = csv.writer(sys.stdout, lineterminator="\n")
        self.writer.writerow(["file", "digit", "probability", "reason"])

    def write(self, answer: Answer) -> None:
        row = answer.probabilities
        found = ["", ""] if row is None else [str(row.argmax()), f"{row.max():.6f}"]
        self.writer.writerow([str(answer.path), *found, answer.reason])

    def close(self) -> None:
        pass


class _Json:
    """A list with an object for each file, one a line."""

    def __init__(self) -> None:
        self.before = "[\n"

    def write(self, answer: Answer) -> None:
        row = answer.probabilities
        values: dict[str, object] = {"file": str(answer.path)}
        if row is None:
            values["reason"] = answer.reason
        else:
            values["digit"] = int(row.argmax())
            values["probability"] = round(float(row.max()), 6)
            values["probabilities"] = [round(float(value), 6) for value in row]
        print(f"{self.before}{json.dumps(values)}", end="")
        self.before = ",\n"

    def close(self) -> None:
        print("\n]" if self.before == ",\n" else "[]")
