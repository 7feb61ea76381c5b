from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.data.labels import check_classes, class_names, to_classes
from pipeline.system.errors import UserError
from tests.helpers import tiny
from tests.helpers.configs import assert_one_line, changed


@pytest.mark.parametrize(
    ("labels", "first", "classes"),
    [
        (np.array([0, 9, 255], np.uint8), 0, [0, 9, 255]),
        (np.array([1, 26, 5], np.uint8), 1, [0, 25, 4]),  # letters of EMNIST
        (np.array([255, 255], np.uint8), 255, [0, 0]),
        (np.array([2, 0], np.int8), 0, [2, 0]),
        (np.array([255, 1], ">i2"), 1, [254, 0]),
        (np.array([[3, 700, -1], [0, 9, 9]], ">i4"), 0, [3, 0]),  # QMNIST
        (np.array([[3], [4]], np.uint8), 3, [0, 1]),
    ],
)
def test_classes_count_from_the_first_label(
    labels: NDArray[Any], first: int, classes: list[int]
) -> None:
    result = to_classes(labels, first)
    np.testing.assert_array_equal(result, np.array(classes, np.uint8), strict=True)


@pytest.mark.parametrize(
    ("labels", "first", "parts"),
    [
        (np.array([0, -1, 3], np.int8), 0, ["label -1 of image 1 is negative", "-1 to 0, 3"]),
        (np.array([0, 256], np.int32), 0, ["label 256 of image 1 is above 255", "0, 256"]),
        (np.array([2, 0, 1], np.uint8), 1, ["label 0 of image 1", "data.first_label, 1", "0 to 2"]),
        (np.arange(0, 100, 2) + 250, 0, ["label 256 of image 3", "262, 264, and 42 more"]),
    ],
)
def test_label_that_cannot_be_a_class_is_named(
    labels: NDArray[Any], first: int, parts: list[str]
) -> None:
    with pytest.raises(ValueError, match="label") as error:
        to_classes(labels, first)
    assert_one_line(error.value, parts)


def of(*classes: int) -> NDArray[np.uint8]:
    """Twelve images of each class, in turns."""
    return np.tile(np.array(classes, np.uint8), 12)


LETTERS, DIGITS = of(*range(1, 27)), of(*range(10))


@pytest.mark.parametrize("num_classes", [None, 10])
@pytest.mark.parametrize("first", [0, 1, 246])
def test_number_of_classes_is_returned(num_classes: int | None, first: int) -> None:
    data = changed(tiny.DATA, num_classes=num_classes, first_label=first)
    assert check_classes(DIGITS, DIGITS, data, 0.1) == 10


@pytest.mark.parametrize(
    ("training", "test", "num_classes", "first", "parts"),
    [
        (LETTERS, LETTERS, None, 0, ["no image has label 0: the labels are 1 to 26;", "label: 1"]),
        (LETTERS, LETTERS, 26, 0, ["no image has label 0: the labels are 1 to 26;", "label: 1"]),
        (LETTERS, LETTERS, 27, 0, ["no image has label 0: the labels are 1 to 26;", "label: 1"]),
        (LETTERS, of(1, 2), None, 0, ["training labels are 1 to 26, the test labels 1 to 2;"]),
        (LETTERS, LETTERS, None, 4, ["no image has label 4: the labels are 5 to 30", "label: 5"]),
        (LETTERS, DIGITS, None, 0, ["class 0 has 0 of 312 training", "1 to 26, the test labels 0"]),
        (DIGITS, DIGITS, 5, 0, ["training label 5 of image 5", "0 to 9; set data.num_classes: 10"]),
        (
            DIGITS,
            DIGITS,
            5,
            1,
            ["training label 6 of image 5 ", "5 classes from label 1", "1 to 10;"],
        ),
        (DIGITS, DIGITS, 12, 0, ["class 10 has 0 of", "0 to 9; set data.num_classes: 10, or null"]),
        (DIGITS, DIGITS, 12, 1, ["class 11 has 0 of", "1 to 10; set data.num_classes: 10"]),
        (DIGITS, of(0, 1, 3), None, 0, ["class 2 has 0 of 36 test", "test labels 0 to 1, 3; both"]),
        (of(0, 1), DIGITS, None, 0, ["test label 2 of image 2 ", "0 to 1, the test labels 0 to 9"]),
        (of(0, 1), DIGITS, 10, 0, ["class 2 has 0 of 24 training", "both sets need the same"]),
        (of(0, 2, 5), of(0, 2, 5), None, 0, ["class 1 has 0", "labels are 0, 2, 5; number them"]),
        (of(3), of(3), None, 0, ["all training labels are 3: two classes"]),
        (of(0), of(0), None, 7, ["all training labels are 7: two classes"]),
    ],
)
def test_error_names_the_cause_and_the_labels_of_the_files(
    training: NDArray[np.uint8],
    test: NDArray[np.uint8],
    num_classes: int | None,
    first: int,
    parts: list[str],
) -> None:
    data = changed(tiny.DATA, num_classes=num_classes, first_label=first)
    with pytest.raises(UserError) as error:
        check_classes(training, test, data, 0.01)
    assert_one_line(error.value, parts)
    assert "min_class_fraction" not in str(error.value)


@pytest.mark.parametrize("name", ["training", "test"])
def test_rare_class_is_refused_for_its_limit(name: str) -> None:
    rare = np.append(of(0, 1), np.uint8(2))
    sets = {"training": of(0, 1, 2), "test": of(0, 1, 2), name: rare}
    data = changed(tiny.DATA, first_label=1)
    assert check_classes(sets["training"], sets["test"], data, 1 / 25) == 3
    with pytest.raises(UserError) as error:
        check_classes(sets["training"], sets["test"], data, 0.041)
    message = f"class 3 has 1 of 25 {name} images: prepare.min_class_fraction is 0.041"
    assert str(error.value) == message


def test_names_are_those_of_the_config_or_the_labels() -> None:
    named = changed(tiny.DATA, class_names=["top", "bottom"])
    assert class_names(named, 2) == ["top", "bottom"]
    assert class_names(tiny.DATA, 3) == ["0", "1", "2"]
    assert class_names(changed(tiny.DATA, first_label=1), 3) == ["1", "2", "3"]
    with pytest.raises(UserError, match="2 names for the 3 classes"):
        class_names(named, 3)


def test_labels_stored_as_floats_are_classes_and_nan_is_not() -> None:
    np.testing.assert_array_equal(to_classes(np.array([2, 1], ">f4"), 1), np.array([1, 0]))
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match="of image 1 is negative"):
        to_classes(np.array([0, np.nan], ">f4"), 0)
