"""Metrics of a classifier's predictions. Add a metric to `evaluate_predictions`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from pipeline.system.errors import UserError

Probabilities = NDArray[np.float32]
Labels = NDArray[np.uint8]

LEFT_OUT = (0.01, 0.02, 0.05)  # shares of images
WITHOUT_LABEL_ERRORS = "test_accuracy_without_label_errors"


def nll(probabilities: Probabilities, labels: Labels) -> NDArray[np.float64]:
    """Negative log-likelihood of each true class, in nats, shape (N,); clipped at about 16."""
    true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return -np.log(np.maximum(true, np.finfo(np.float32).eps))


def mistakes(probabilities: Probabilities, labels: Labels) -> NDArray[np.intp]:
    """The indices of the images that are classified wrongly, the most surprising label first."""
    wrong = np.flatnonzero(probabilities.argmax(1) != labels)
    return wrong[np.argsort(-nll(probabilities, labels)[wrong], kind="stable")]


def confusion(probabilities: Probabilities, labels: Labels) -> NDArray[np.int64]:
    """Counts of (true class, predicted class), shape (classes, classes)."""
    classes = probabilities.shape[1]
    pairs = labels.astype(np.int64) * classes + probabilities.argmax(1)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def per_class(probabilities: Probabilities, labels: Labels) -> list[dict[str, Any]]:
    """Precision, recall, F1 and number of images of each class; an undefined ratio is 0."""
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
    """Mean confidence and accuracy of the predictions in each of `bins` bins of equal width.

    The bins divide the confidence, from 0 to 1. Empty bins are left out.
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


def selective_accuracies(probabilities: Probabilities, labels: Labels) -> dict[float, float]:
    """The accuracy when the images of which the classifier is least sure are left out.

    Returns:
        The accuracy by the share of images that is left out: 0.01, 0.02 and 0.05.
    """
    surest_first = np.argsort(-probabilities.max(1), kind="stable")
    correct = (probabilities.argmax(1) == labels)[surest_first]
    count = len(labels)
    return {share: float(correct[: count - int(share * count)].mean()) for share in LEFT_OUT}


def accuracy_without_label_errors(
    probabilities: Probabilities, labels: Labels, label_errors: Sequence[int]
) -> dict[str, float]:
    """The accuracy without the images whose label is in doubt.

    Args:
        probabilities: the probability of each class, shape (N, classes).
        labels: the true classes, shape (N,).
        label_errors: the indices of these images.

    Returns:
        The metric by its name; none if no such image is known.

    Raises:
        UserError: naming an index that no image has.
    """
    if not label_errors:
        return {}
    if (largest := max(label_errors)) >= len(labels):
        raise UserError(f"data.label_errors: no image {largest} among {len(labels)} test images")
    correct = np.delete(probabilities.argmax(1) == labels, label_errors)
    return {WITHOUT_LABEL_ERRORS: float(correct.mean())} if len(correct) else {}


def _ratio(part: int, whole: int) -> float:
    return float(part / whole) if whole else 0.0


def evaluate_predictions(
    probabilities: NDArray[np.float32], labels: NDArray[np.uint8], calibration_bins: int
) -> dict[str, float]:
    """The test metrics of a classifier's predictions.

    Args:
        probabilities: the probability of each class, shape (N, classes); each row sums to 1.
        labels: the true classes, shape (N,).
        calibration_bins: number of confidence bins of equal width for the calibration error.

    Returns:
        accuracy and the bounds of its 95 % Wilson score interval (Wilson, 1927); loss, the mean
        negative log-likelihood in nats; macro_f1; calibration_error, the expected calibration error
        (Naeini et al., 2015); the accuracies without the 1, 2 and 5 % that are the least sure.
    """
    correct = int((probabilities.argmax(1) == labels).sum())
    interval = binomtest(correct, len(labels)).proportion_ci(0.95, method="wilson")
    bins = calibration(probabilities, labels, calibration_bins)
    gaps = [row["images"] * abs(row["accuracy"] - row["confidence"]) for row in bins]
    classes = per_class(probabilities, labels)
    return {
        "test_accuracy": correct / len(labels),
        "test_accuracy_low": float(interval.low),
        "test_accuracy_high": float(interval.high),
        "test_loss": float(nll(probabilities, labels).mean()),
        "test_macro_f1": float(np.mean([row["f1"] for row in classes])),
        "test_calibration_error": float(sum(gaps) / len(labels)),
        **{
            f"test_accuracy_without_{share:.0%}".rstrip("%"): accuracy
            for share, accuracy in selective_accuracies(probabilities, labels).items()
        },
    }
