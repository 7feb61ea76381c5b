import numpy as np
import pytest

from pipeline.evaluation.metrics import test_metrics as evaluate
from tests.unit.evaluation.test_report import LABELS, PROBABILITIES, random_answers


def test_metrics_of_a_small_example() -> None:
    metrics = evaluate(PROBABILITIES, LABELS, calibration_bins=4)
    assert metrics["test_accuracy"] == 0.75
    assert metrics["test_loss"] == pytest.approx(-np.log([0.7, 0.8, 0.05, 0.6]).mean())
    assert metrics["test_macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    # Two answers at 0.65, both right; two at 0.875, one right.
    assert metrics["test_calibration_error"] == pytest.approx((2 * 0.35 + 2 * 0.375) / 4)
    # Wilson's formula with n = 4, p = 3/4, z = 1.96.
    z = 1.959964
    centre, spread = 0.75 + z**2 / 8, z * np.sqrt(0.75 * 0.25 / 4 + z**2 / 64)
    assert metrics["test_accuracy_low"] == pytest.approx((centre - spread) / (1 + z**2 / 4))
    assert metrics["test_accuracy_high"] == pytest.approx((centre + spread) / (1 + z**2 / 4))


def test_metrics_agree_with_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score, f1_score, log_loss  # type: ignore[import-untyped]

    probabilities, labels = random_answers(seed=1, count=300, classes=5)
    metrics = evaluate(probabilities, labels, calibration_bins=15)
    predicted = probabilities.argmax(1)
    assert metrics["test_accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert metrics["test_macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert metrics["test_loss"] == pytest.approx(log_loss(labels, probabilities), rel=1e-5)


@pytest.mark.parametrize(("shift", "accuracy"), [(0, 1.0), (1, 0.0)])
def test_all_right_and_all_wrong(shift: int, accuracy: float) -> None:
    labels = np.arange(10, dtype=np.uint8)
    metrics = evaluate(np.eye(10, dtype=np.float32)[(labels + shift) % 10], labels, 15)
    assert metrics["test_accuracy"] == metrics["test_macro_f1"] == accuracy
    assert metrics["test_calibration_error"] == 1 - accuracy
    assert 0 <= metrics["test_accuracy_low"] <= accuracy <= metrics["test_accuracy_high"] <= 1
    assert np.isfinite(metrics["test_loss"])
