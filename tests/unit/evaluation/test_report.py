import csv
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.config.schema import Evaluate
from pipeline.data.splits import Split
from pipeline.evaluation.report import write_report
from tests.helpers.predictions import LABELS, PROBABILITIES


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_report_has_five_files_with_the_same_bytes_each_time(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    "names",
    [
        ["$x^2$", r"\frac{", "%"],
        ["日本語", "العربية", "हिन्दी"],
        ["x" * 1000, "😀", "\U00013000"],
    ],
)
def test_pictures_have_any_names(tmp_path: Path, names: list[str]) -> None:
    images = np.zeros((4, 9, 8), np.uint8)
    settings_ = Evaluate(calibration_bins=4, worst_mistakes=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_report(tmp_path, Split(images, LABELS), PROBABILITIES, names, settings_)
    assert [row["class"] for row in rows_of(tmp_path / "per_class.csv")] == names


@pytest.mark.slow
def test_picture_of_the_most_classes_has_a_limited_size(tmp_path: Path) -> None:
    test = Split(np.zeros((256, 4, 4), np.uint8), np.arange(256, dtype=np.uint8))
    settings_ = Evaluate(calibration_bins=4, worst_mistakes=3)
    names = [f"class {number}" for number in range(256)]
    write_report(tmp_path, test, np.eye(256, dtype=np.float32), names, settings_)
    with Image.open(tmp_path / "confusion.png") as picture:
        assert picture.size[0] == picture.size[1] < 4300


def test_picture_of_no_mistakes_is_empty(tmp_path: Path) -> None:
    test = Split(np.zeros((3, 4, 4), np.uint8), np.arange(3, dtype=np.uint8))
    settings_ = Evaluate(calibration_bins=4, worst_mistakes=3)
    write_report(tmp_path, test, np.eye(3, dtype=np.float32), ["0", "1", "2"], settings_)
    assert (tmp_path / "mistakes.png").read_bytes().startswith(b"\x89PNG")
