from typing import Literal

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.augment import Affine
from tests.helpers import tiny

Interpolation = Literal["nearest", "bilinear"]
IMAGES = tiny.split(6, shape=(9, 8)).images


def apply(augment: Affine, images: NDArray[np.uint8], draws: list[float]) -> NDArray[np.uint8]:
    rows = np.tile(np.array(draws, np.float32), (len(images), 1))
    return augment(tf.constant(images), tf.constant(rows)).numpy()


def drawn(pixels: int, shift: int) -> float:
    """The middle of the draws that give a shift."""
    return (pixels + shift + 0.5) / (2 * shift + 1)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("draws", [[0.0] * 4, [0.3, 0.9, 0.1, 0.7], [0.999999] * 4])
def test_zero_settings_change_nothing(interpolation: Interpolation, draws: list[float]) -> None:
    result = apply(Affine(shift=0, interpolation=interpolation), IMAGES, draws)
    np.testing.assert_array_equal(result, IMAGES, strict=True)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize(("down", "right"), [(0, 0), (1, 0), (0, 2), (-2, 1), (2, -2), (-1, -1)])
def test_shift_moves_whole_pixels(interpolation: Interpolation, down: int, right: int) -> None:
    draws = [drawn(down, 2), drawn(right, 2), 0.1, 0.9]
    result = apply(Affine(shift=2, interpolation=interpolation), IMAGES, draws)
    padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2)))
    expected = padded[:, 2 - down : 11 - down, 2 - right : 10 - right]
    np.testing.assert_array_equal(result, expected)


def test_every_shift_is_equally_likely() -> None:
    image = np.zeros((1, 7, 7), np.uint8)
    image[0, 3, 3] = 255
    draws = (np.arange(500) + 0.5) / 500
    rows = [apply(Affine(shift=2), image, [d, 0.5, 0, 0])[0].argmax() // 7 for d in draws[::5]]
    assert np.bincount(rows).tolist() == [0, 20, 20, 20, 20, 20]


def test_quarter_turn_is_exact() -> None:
    square = IMAGES[:, :8, :8]
    result = apply(Affine(shift=0, rotation=90.0, interpolation="nearest"), square, [0, 0, 1, 0])
    turned = [np.array_equal(result, np.rot90(square, k, axes=(1, 2))) for k in (1, 3)]
    assert sum(turned) == 1


def test_scale_keeps_the_centre() -> None:
    image = np.zeros((1, 9, 9), np.uint8)
    image[0, 3:6, 3:6] = 200
    larger, smaller = (
        apply(Affine(shift=0, scale=0.5), image, [0, 0, 0, draw])[0] for draw in (0.999, 0.0)
    )
    assert larger.sum() > 1.5 * image.sum() > 0
    assert smaller.sum() < 0.6 * image.sum()
    for result in (larger, smaller):
        assert result[4, 4] == 200
        np.testing.assert_allclose(result, result[::-1, ::-1], atol=1)


@settings(deadline=None, max_examples=30)
@given(
    draws=st.lists(st.floats(0, 1, exclude_max=True, width=32), min_size=4, max_size=4),
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12)),
)
def test_size_type_and_bounds_are_kept(draws: list[float], shape: tuple[int, int]) -> None:
    images = np.full((2, *shape), 100, np.uint8)
    result = apply(Affine(shift=2, rotation=15.0, scale=0.2), images, draws)
    assert result.dtype == np.uint8
    assert result.shape == images.shape
    # The edges are blended with 0, and no pixel becomes lighter.
    assert result.max() <= 100
