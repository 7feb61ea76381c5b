"""Augmentation: small random changes to training images that leave their labels correct."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from pydantic import Field
from scipy.interpolate import BSpline

from pipeline.config.types import Fraction

_GRID = 4  # points of `Elastic`, vertically and horizontally


@dataclass(frozen=True)
class Affine:
    """Shift, rotate and scale each image at random. Pixels from outside the image are 0.

    Args:
        shift: largest shift in whole pixels, vertically and horizontally.
        rotation: largest rotation in degrees, in either direction.
        scale: largest change of size, as a share: 0.1 means up to 10 % larger or smaller.
        interpolation: `nearest`, or `bilinear`, which also blurs a little.
    """

    shift: Annotated[int, Field(ge=0, le=64)]
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    scale: Fraction = 0.0
    interpolation: Literal["nearest", "bilinear"] = "bilinear"
    draws: ClassVar[int] = 4  # random numbers for each image

    def __call__(self, images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        """Change images, uint8 (B, height, width), by random draws, float32 (B, 4) in [0, 1)."""
        height, width = images.shape[1:]
        down, right, cos, sin = _inverse(self, draws)
        y, x = (height - 1) / 2, (width - 1) / 2  # rotate and scale about the centre
        zero = tf.zeros_like(cos)
        transforms = tf.stack(
            [
                *(cos, -sin, x - cos * (x + right) + sin * (y + down)),
                *(sin, cos, y - sin * (x + right) - cos * (y + down)),
                *(zero, zero),
            ],
            axis=1,
        )
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=images[..., tf.newaxis],
            transforms=transforms,
            output_shape=[height, width],
            fill_value=0.0,
            interpolation=self.interpolation.upper(),
            fill_mode="CONSTANT",
        )[..., 0]


@dataclass(frozen=True)
class Elastic:
    """Bend, shift, rotate and scale each image at random. Pixels from outside the image are 0.

    The points of a grid of 4 × 4 over the image are displaced at random. The displacement of the
    pixels between them is a cubic B-spline, so it has no edges. In Simard et al. (2003), each pixel
    has its own random displacement, and these are then smoothed.

    Args:
        shift: largest shift in whole pixels, vertically and horizontally.
        rotation: largest rotation in degrees, in either direction.
        scale: largest change of size, as a share: 0.1 means up to 10 % larger or smaller.
        bend: largest displacement of a point of the grid in pixels, vertically and horizontally.
    """

    shift: Annotated[int, Field(ge=0, le=64)]
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    scale: Fraction = 0.0
    bend: Annotated[float, Field(ge=0, le=64)] = 0.0
    draws: ClassVar[int] = 4 + 2 * _GRID**2

    def __call__(self, images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        """Change images, uint8 (B, height, width), by random draws, float32 (B, 36) in [0, 1)."""
        height, width = images.shape[1:]
        down, right, cos, sin = (each[:, None, None] for each in _inverse(self, draws))
        y, x = (height - 1) / 2, (width - 1) / 2
        rows = tf.range(height, dtype=tf.float32)[:, None] - y - down
        columns = tf.range(width, dtype=tf.float32) - x - right
        displaced = self.bend * (draws[:, 4:] * 2 - 1)
        bends = tf.reshape(displaced, (-1, 2, _GRID**2)) @ _splines(height, width)
        bends = tf.reshape(bends, (-1, 2, height, width))
        return _compiled_look_up(
            images,
            y + sin * columns + cos * rows + bends[:, 0],
            x + cos * columns - sin * rows + bends[:, 1],
        )


def _inverse(augment: Affine | Elastic, draws: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """The shift down and right in pixels, and the cosine and sine of the inverse rotation.

    An output pixel is looked up in the input, so the rotation and the scale are inverted.
    """
    down, right = (tf.floor(draws[:, i] * (2 * augment.shift + 1)) - augment.shift for i in (0, 1))
    angle = (draws[:, 2] * 2 - 1) * math.radians(augment.rotation)
    zoom = 1 + (draws[:, 3] * 2 - 1) * augment.scale
    return down, right, tf.cos(angle) / zoom, tf.sin(angle) / zoom


def _splines(height: int, width: int) -> NDArray[np.float32]:
    """How much each point of the grid moves each pixel, shape (points, height * width)."""
    down, across = (
        BSpline.basis_element(np.arange(-2, 3))(
            np.linspace(0, _GRID - 1, size) - np.arange(_GRID)[:, None], extrapolate=False
        )
        for size in (height, width)
    )
    return np.nan_to_num(np.kron(down, across)).astype(np.float32)


def _look_up(images: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """The pixels at these positions, blended from the four around each; 0 outside the image."""
    height, width = images.shape[1:]
    rows = tf.clip_by_value(rows, -1.0, height) + 1  # in the padded image
    columns = tf.clip_by_value(columns, -1.0, width) + 1
    above, left = tf.floor(rows), tf.floor(columns)
    down, right = rows - above, columns - left

    padded = tf.reshape(tf.pad(images, [[0, 0], [1, 2], [1, 2]]), [-1])
    line = width + 3
    first = tf.range(tf.shape(images)[0])[:, None, None] * ((height + 3) * line)
    place = first + tf.cast(above, tf.int32) * line + tf.cast(left, tf.int32)

    def blend(place: tf.Tensor) -> tf.Tensor:
        one, next_one = (tf.cast(tf.gather(padded, place + i), tf.float32) for i in (0, 1))
        return one + right * (next_one - one)

    pixels = blend(place) + down * (blend(place + line) - blend(place))
    return tf.cast(tf.round(pixels), images.dtype)


# As one loop over the pixels, which takes less time than `Affine`.
_compiled_look_up: Callable[..., tf.Tensor] = tf.function(_look_up, jit_compile=True)
