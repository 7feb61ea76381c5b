"""The report of an evaluation: tables for DVC's plots, and pictures."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.config.schema import Evaluate
from pipeline.data.splits import Split
from pipeline.evaluation.metrics import Probabilities, calibration, confusion, nll, per_class
from pipeline.system.files import atomic_write, write_csv


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
    rows = [
        {
            "image": i,
            "actual": class_names[actual],
            "predicted": class_names[guess],
            "probability": f"{probabilities[i, guess]:.6f}",
        }
        for i, (actual, guess) in enumerate(zip(test.labels, predicted, strict=True))
    ]
    write_csv(reports / "predictions.csv", rows)
    named = [
        {**row, "class": class_names[row["class"]]} for row in per_class(probabilities, test.labels)
    ]
    write_csv(reports / "per_class.csv", named)
    bins = calibration(probabilities, test.labels, settings.calibration_bins)
    write_csv(reports / "calibration.csv", bins)
    _draw_confusion(reports / "confusion.png", confusion(probabilities, test.labels), class_names)
    wrong = np.flatnonzero(predicted != test.labels)
    worst_first = np.argsort(-nll(probabilities, test.labels)[wrong], kind="stable")
    _draw_mistakes(
        reports / "mistakes.png",
        test,
        probabilities,
        class_names,
        wrong[worst_first][: settings.worst_mistakes],
        len(wrong),
    )


def _draw_confusion(path: Path, matrix: NDArray[np.int64], class_names: Sequence[str]) -> None:

    figure = Figure(figsize=(1.5 + 0.55 * len(matrix), 1.5 + 0.55 * len(matrix)), layout="tight")
    axis = figure.subplots()
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (actual, predicted), count in np.ndenumerate(matrix):
        if count:
            colour = "white" if share[actual, predicted] > 0.5 else "black"
            axis.text(
                predicted, actual, str(count), ha="center", va="center", color=colour, fontsize=8
            )
    axis.set_xticks(range(len(matrix)), class_names, rotation=90 if len(class_names[0]) > 2 else 0)
    axis.set_yticks(range(len(matrix)), class_names)
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

    columns = 5
    rows = max(math.ceil(len(shown) / columns), 1)
    figure = Figure(figsize=(columns * 1.7, rows * 1.95 + 0.6), layout="constrained")
    figure.suptitle(f"The {len(shown)} worst of {total} mistakes in {len(test.labels)} test images")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, i in zip(axes, shown, strict=False):
        guess = probabilities[i].argmax()
        axis.imshow(test.images[i], cmap="gray_r", vmin=0, vmax=255)
        axis.set_title(
            f"{class_names[test.labels[i]]}, read as\n"
            f"{class_names[guess]} ({probabilities[i, guess]:.0%})",
            fontsize=9,
        )
    save_figure(figure, path)


def save_figure(figure: Figure, path: Path, **options: Any) -> None:
    """Write a figure as PNG. Equal figures give equal bytes. `options` go to `savefig`."""
    with atomic_write(path) as file:
        # `Software` is None, because matplotlib would write its version into the file.
        figure.savefig(file, format="png", dpi=100, metadata={"Software": None}, **options)
