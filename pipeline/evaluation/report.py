"""The report of an evaluation: tables for DVC's plots, and pictures."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.config.schema import Evaluate
from pipeline.data.splits import Split
from pipeline.evaluation.drawing import drawing, label, save_figure
from pipeline.evaluation.metrics import Probabilities, calibration, confusion, mistakes, per_class
from pipeline.system.files import write_csv

_CELL = 0.55  # inches for each class in confusion.png
_LARGEST = 40.0  # inches for all classes: 4,000 pixels


def write_report(
    reports: Path,
    test: Split,
    probabilities: Probabilities,
    class_names: Sequence[str],
    settings: Evaluate,
) -> None:
    """Write the tables and pictures of one evaluation.

    Args:
        reports: folder to write to.
        test: the test images and labels.
        probabilities: the probability of each class, shape (N, classes).
        class_names: a name for each class.
        settings: the number of calibration bins, and the number of pictures in mistakes.png.
    """
    predicted = probabilities.argmax(1)
    rows = (
        {
            "image": i,
            "actual": class_names[actual],
            "predicted": class_names[guess],
            "probability": f"{probabilities[i, guess]:.6f}",
        }
        for i, (actual, guess) in enumerate(zip(test.labels, predicted, strict=True))
    )
    write_csv(reports / "predictions.csv", rows)
    named = [
        {**row, "class": class_names[row["class"]]} for row in per_class(probabilities, test.labels)
    ]
    write_csv(reports / "per_class.csv", named)
    bins = calibration(probabilities, test.labels, settings.calibration_bins)
    write_csv(reports / "calibration.csv", bins)
    worst = mistakes(probabilities, test.labels)
    with drawing(class_names):
        _draw_confusion(
            reports / "confusion.png", confusion(probabilities, test.labels), class_names
        )
        _draw_mistakes(
            reports / "mistakes.png",
            test,
            probabilities,
            class_names,
            worst[: settings.worst_mistakes],
            len(worst),
        )


def _draw_confusion(path: Path, matrix: NDArray[np.int64], class_names: Sequence[str]) -> None:
    names = [label(name, 24) for name in class_names]
    cell = min(_CELL, _LARGEST / len(matrix))
    longest = max(map(len, names))
    side = max(1.5 + cell * len(matrix) + 0.1 * max(longest - 2, 0), 4)
    figure = Figure(figsize=(side, side), layout="tight")
    axis = figure.subplots()
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (actual, predicted), count in np.ndenumerate(matrix):
        if count and cell == _CELL:  # otherwise the count does not fit
            colour = "white" if share[actual, predicted] > 0.5 else "black"
            axis.text(
                predicted, actual, str(count), ha="center", va="center", color=colour, fontsize=8
            )
    size = min(10.0, 72 * cell)
    rotation = 90 if longest > 2 else 0
    axis.set_xticks(range(len(matrix)), names, rotation=rotation, fontsize=size)
    axis.set_yticks(range(len(matrix)), names, fontsize=size)
    axis.set(xlabel="predicted", ylabel="actual", title=f"{matrix.sum()} test images by class")
    save_figure(figure, path)


def _draw_mistakes(
    path: Path,
    test: Split,
    probabilities: Probabilities,
    class_names: Sequence[str],
    shown: NDArray[np.int64],
    total: int,
) -> None:
    names = [label(name, 12) for name in class_names]
    columns = 5
    rows = max(math.ceil(len(shown) / columns), 1)
    figure = Figure(figsize=(columns * 1.7, rows * 1.95 + 0.6), layout="constrained")
    figure.suptitle(f"The {len(shown)} worst of {total} mistakes in {len(test.labels)} test images")
    # All pictures are on one pair of axes, a unit each: 25 pairs take half a second.
    axis = figure.subplots()
    for place, i in enumerate(shown):
        row, column = divmod(place, columns)
        guess = probabilities[i].argmax()
        left, top = column + 0.08, row * 1.15 + 0.3
        extent = (left, left + 0.84, top + 0.84, top)
        axis.imshow(test.images[i], cmap="gray_r", vmin=0, vmax=255, extent=extent)
        text = f"{names[test.labels[i]]}, read as\n{names[guess]} ({probabilities[i, guess]:.0%})"
        axis.text(column + 0.5, top - 0.03, text, ha="center", va="bottom", fontsize=9)
    axis.set(xlim=(0, columns), ylim=(rows * 1.15 + 0.05, 0))
    axis.axis("off")
    save_figure(figure, path)
