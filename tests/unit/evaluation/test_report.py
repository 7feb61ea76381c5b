import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.config.schema import Evaluate
from pipeline.data.splits import Split
from pipeline.evaluation.metrics import calibration, confusion, nll, per_class
from pipeline.evaluation.report import write_report

# Four images, three classes; the third is a mistake with much confidence.
PROBABILITIES = np.array(
    [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.95, 0.05, 0.0], [0.2, 0.2, 0.6]], np.float32
)
LABELS = np.array([0, 1, 1, 2], np.uint8)


def random_answers(
    seed: int, count: int, classes: int
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(classes), count).astype(np.float32)
    return probabilities, rng.integers(0, classes, count).astype(np.uint8)


def test_losses_are_of_the_true_class() -> None:
    expected = -np.log([0.7, 0.8, 0.05, 0.6])
    np.testing.assert_allclose(nll(PROBABILITIES, LABELS), expected, rtol=1e-6)


def test_loss_of_an_impossible_answer_is_finite() -> None:
    loss = nll(np.array([[1, 0]], np.float32), np.array([1], np.uint8))
    assert 15 < loss[0] < 17


def test_confusion_counts_true_by_predicted() -> None:
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
    from sklearn.metrics import precision_recall_fscore_support  # type: ignore[import-untyped]

    probabilities, labels = random_answers(seed, count, classes)
    expected = precision_recall_fscore_support(
        labels, probabilities.argmax(1), labels=range(classes), zero_division=0
    )
    rows = per_class(probabilities, labels)
    for name, values in zip(("precision", "recall", "f1", "images"), expected, strict=True):
        np.testing.assert_allclose([row[name] for row in rows], values)


def test_calibration_by_equal_widths() -> None:
    rows = calibration(PROBABILITIES, LABELS, 2)
    # All four are above a half.
    assert len(rows) == 1
    assert rows[0]["confidence"] == pytest.approx((0.7 + 0.8 + 0.95 + 0.6) / 4)
    assert (rows[0]["accuracy"], rows[0]["images"]) == (0.75, 4)
    rows = calibration(PROBABILITIES, LABELS, 4)
    assert [row["images"] for row in rows] == [2, 2]
    assert [row["accuracy"] for row in rows] == [1.0, 0.5]
    assert [row["confidence"] for row in rows] == pytest.approx([0.65, 0.875])


def test_certain_answer_is_in_the_last_width() -> None:
    rows = calibration(np.array([[1, 0]], np.float32), np.array([0], np.uint8), 10)
    assert rows == [{"confidence": 1.0, "accuracy": 1.0, "images": 1}]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_report_is_five_files_and_the_same_bytes_twice(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 9, 8), np.uint8)
    settings_ = Evaluate(calibration_bins=4, worst_mistakes=3)
    for name in ("one", "two"):
        write_report(
            tmp_path / name, Split(images, LABELS), PROBABILITIES, ["a", "b,\n", "×"], settings_
        )
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("one", "two")
    )
    assert one == two
    assert sorted(one) == [
        "calibration.csv",
        "confusion.png",
        "mistakes.png",
        "per_class.csv",
        "predictions.csv",
    ]
    assert all(one[name].startswith(b"\x89PNG") for name in one if name.endswith(".png"))
    predictions = rows_of(tmp_path / "one/predictions.csv")
    assert [row["actual"] for row in predictions] == ["a", "b,\n", "b,\n", "×"]
    assert [row["predicted"] for row in predictions] == ["a", "b,\n", "a", "×"]
    assert predictions[2]["probability"] == "0.950000"
    assert [row["class"] for row in rows_of(tmp_path / "one/per_class.csv")] == ["a", "b,\n", "×"]


def test_no_mistake_draws_an_empty_picture(tmp_path: Path) -> None:
    test = Split(np.zeros((3, 4, 4), np.uint8), np.arange(3, dtype=np.uint8))
    settings_ = Evaluate(calibration_bins=4, worst_mistakes=3)
    write_report(tmp_path, test, np.eye(3, dtype=np.float32), ["0", "1", "2"], settings_)
    assert (tmp_path / "mistakes.png").read_bytes().startswith(b"\x89PNG")
