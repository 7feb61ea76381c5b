import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (  # type: ignore[import-untyped]
    accuracy_score,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
)

from pipeline.evaluation.metrics import (
    accuracy_without_label_errors,
    calibration,
    confusion,
    evaluate_predictions,
    mistakes,
    nll,
    per_class,
)
from pipeline.system.errors import UserError
from tests.helpers.predictions import LABELS, PROBABILITIES, random_predictions


def test_metrics_of_a_small_example() -> None:
    metrics = evaluate_predictions(PROBABILITIES, LABELS, calibration_bins=4)
    assert metrics["test_accuracy"] == 0.75
    assert metrics["test_loss"] == pytest.approx(-np.log([0.7, 0.8, 0.05, 0.6]).mean())
    assert metrics["test_macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    # Two predictions at 0.65, both right; two at 0.875, one of them right.
    assert metrics["test_calibration_error"] == pytest.approx((2 * 0.35 + 2 * 0.375) / 4)
    # Wilson's formula with n = 4, p = 3/4, z = 1.96.
    z = 1.959964
    centre, spread = 0.75 + z**2 / 8, z * np.sqrt(0.75 * 0.25 / 4 + z**2 / 64)
    assert metrics["test_accuracy_low"] == pytest.approx((centre - spread) / (1 + z**2 / 4))
    assert metrics["test_accuracy_high"] == pytest.approx((centre + spread) / (1 + z**2 / 4))


def test_label_errors_are_left_out() -> None:
    """Only the third of the four answers is wrong."""
    name = "test_accuracy_without_label_errors"
    given = {(2,): 1.0, (0, 1): 0.5, (0, 0): 2 / 3, (0, 1, 2, 3): None, (): None}
    for left_out, accuracy in given.items():
        found = accuracy_without_label_errors(PROBABILITIES, LABELS, left_out)
        assert found == ({} if accuracy is None else {name: pytest.approx(accuracy)})
    with pytest.raises(UserError, match=r"data\.label_errors: no image 4 among 4 test images"):
        accuracy_without_label_errors(PROBABILITIES, LABELS, [1, 4])


def test_metrics_agree_with_scikit_learn() -> None:
    probabilities, labels = random_predictions(seed=1, count=300, classes=5)
    metrics = evaluate_predictions(probabilities, labels, calibration_bins=15)
    predicted = probabilities.argmax(1)
    assert metrics["test_accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert metrics["test_macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert metrics["test_loss"] == pytest.approx(log_loss(labels, probabilities), rel=1e-5)


@pytest.mark.parametrize(("shift", "accuracy"), [(0, 1.0), (1, 0.0)])
def test_all_predictions_right_or_all_wrong(shift: int, accuracy: float) -> None:
    labels = np.arange(10, dtype=np.uint8)
    metrics = evaluate_predictions(np.eye(10, dtype=np.float32)[(labels + shift) % 10], labels, 15)
    assert metrics["test_accuracy"] == metrics["test_macro_f1"] == accuracy
    assert metrics["test_calibration_error"] == 1 - accuracy
    assert 0 <= metrics["test_accuracy_low"] <= accuracy <= metrics["test_accuracy_high"] <= 1
    assert np.isfinite(metrics["test_loss"])


def test_loss_is_that_of_the_true_class() -> None:
    expected = -np.log([0.7, 0.8, 0.05, 0.6])
    np.testing.assert_allclose(nll(PROBABILITIES, LABELS), expected, rtol=1e-6)


def test_loss_of_a_probability_of_0_is_finite() -> None:
    loss = nll(np.array([[1, 0]], np.float32), np.array([1], np.uint8))
    assert 15 < loss[0] < 17


def test_mistakes_begin_with_the_least_probable_label() -> None:
    labels = np.array([0, 1, 0, 2, 2], np.uint8)
    sure = np.array(
        [[0.9, 0.1, 0], [0.6, 0.4, 0], [0.2, 0.8, 0], [0, 0, 1], [0.9, 0, 0.1]], np.float32
    )
    assert mistakes(sure, labels).tolist() == [4, 2, 1]


def test_confusion_has_a_row_for_each_true_class() -> None:
    expected = [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    np.testing.assert_array_equal(confusion(PROBABILITIES, LABELS), expected)


def test_confusion_of_256_classes_does_not_overflow() -> None:
    matrix = confusion(np.eye(256, dtype=np.float32), np.arange(256, dtype=np.uint8))
    np.testing.assert_array_equal(matrix, np.eye(256))


def test_precision_recall_and_f1_of_each_class() -> None:
    rows = per_class(PROBABILITIES, LABELS)
    assert [row["precision"] for row in rows] == [0.5, 1.0, 1.0]
    assert [row["recall"] for row in rows] == [1.0, 0.5, 1.0]
    assert [row["f1"] for row in rows] == pytest.approx([2 / 3, 2 / 3, 1.0])
    assert [row["images"] for row in rows] == [1, 2, 1]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 40), st.integers(2, 6))
def test_per_class_agrees_with_scikit_learn(seed: int, count: int, classes: int) -> None:
    probabilities, labels = random_predictions(seed, count, classes)
    expected = precision_recall_fscore_support(
        labels, probabilities.argmax(1), labels=range(classes), zero_division=0
    )
    rows = per_class(probabilities, labels)
    for name, values in zip(("precision", "recall", "f1", "images"), expected, strict=True):
        np.testing.assert_allclose([row[name] for row in rows], values)


def test_calibration_has_bins_of_equal_width() -> None:
    rows = calibration(PROBABILITIES, LABELS, 2)
    # All four probabilities are above 0.5.
    assert len(rows) == 1
    assert rows[0]["confidence"] == pytest.approx((0.7 + 0.8 + 0.95 + 0.6) / 4)
    assert (rows[0]["accuracy"], rows[0]["images"]) == (0.75, 4)
    rows = calibration(PROBABILITIES, LABELS, 4)
    assert [row["images"] for row in rows] == [2, 2]
    assert [row["accuracy"] for row in rows] == [1.0, 0.5]
    assert [row["confidence"] for row in rows] == pytest.approx([0.65, 0.875])


def test_probability_of_1_is_in_the_last_bin() -> None:
    rows = calibration(np.array([[1, 0]], np.float32), np.array([0], np.uint8), 10)
    assert rows == [{"confidence": 1.0, "accuracy": 1.0, "images": 1}]
