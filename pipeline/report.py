"""What a classifier's answers look like: tables for DVC's plots, and a picture of the mistakes."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Evaluate
from pipeline.data import Split
from pipeline.files import atomic_write, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Probabilities = NDArray[np.float32]
Labels = NDArray[np.uint8]


def losses(probabilities: Probabilities, labels: Labels) -> NDArray[np.float64]:
    """Negative log-likelihood of each true class, in nats, shape (N,); at most about 16."""
    true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return -np.log(np.maximum(true, np.finfo(np.float32).eps))


def confusion(probabilities: Probabilities, labels: Labels) -> NDArray[np.int64]:
    """Counts of (true class, predicted class), shape (classes, classes)."""
    classes = probabilities.shape[1]
    pairs = labels.astype(np.int64) * classes + probabilities.argmax(1)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def per_class(probabilities: Probabilities, labels: Labels) -> list[dict[str, Any]]:
    """Precision, recall, F1 and number of images of each class; 0 where a ratio has no meaning."""
    matrix = confusion(probabilities, labels)
    hits = matrix.diagonal()
    predicted, actual = matrix.sum(0), matrix.sum(1)
    return [
        {
            "class": label,
            "precision": _ratio(hits[label], predicted[label]),
            "recall": _ratio(hits[label], actual[label]),
            "f1": _ratio(2 * hits[label], predicted[label] + actual[label]),
            "images": int(actual[label]),
        }
        for label in range(len(matrix))
    ]


def calibration(probabilities: Probabilities, labels: Labels, bins: int) -> list[dict[str, Any]]:
    """Mean confidence and accuracy of the answers in each of `bins` equal widths of confidence.

    Widths in which no answer falls are left out.
    """
    confidence = probabilities.max(1).astype(np.float64)
    correct = probabilities.argmax(1) == labels
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        {
            "confidence": float(confidence[place == i].mean()),
            "accuracy": float(correct[place == i].mean()),
            "images": int((place == i).sum()),
        }
        for i in np.unique(place)
    ]


def write(
    reports: Path,
    test: Split,
    probabilities: Probabilities,
    class_names: Sequence[str],
    settings: Evaluate,
) -> None:
    """Write the tables and the pictures of one evaluation into `reports`."""
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
    _write_csv(reports / "predictions.csv", rows)
    named = [
        {**row, "class": class_names[row["class"]]} for row in per_class(probabilities, test.labels)
    ]
    _write_csv(reports / "per_class.csv", named)
    bins = calibration(probabilities, test.labels, settings.calibration_bins)
    _write_csv(reports / "calibration.csv", bins)
    _draw_confusion(reports / "confusion.png", confusion(probabilities, test.labels), class_names)
    wrong = np.flatnonzero(predicted != test.labels)
    worst_first = np.argsort(-losses(probabilities, test.labels)[wrong], kind="stable")
    _draw_mistakes(
        reports / "mistakes.png",
        test,
        probabilities,
        class_names,
        wrong[worst_first][: settings.worst_mistakes],
        len(wrong),
    )


def _draw_confusion(path: Path, matrix: NDArray[np.int64], class_names: Sequence[str]) -> None:
    from matplotlib.figure import Figure

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
    _save_figure(figure, path)


def _draw_mistakes(
    path: Path,
    test: Split,
    probabilities: Probabilities,
    class_names: Sequence[str],
    shown: NDArray[np.int64],
    total: int,
) -> None:
    from matplotlib.figure import Figure

    columns = 5
    rows = max(-(-len(shown) // columns), 1)
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
    _save_figure(figure, path)


def _save_figure(figure: "Figure", path: Path) -> None:
    with atomic_write(path) as file:
        # No version of matplotlib in it: the picture is the same, so are its bytes.
        figure.savefig(file, format="png", dpi=100, metadata={"Software": None})


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _ratio(part: int, whole: int) -> float:
    return float(part / whole) if whole else 0.0
