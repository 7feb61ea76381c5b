"""Augmentation: small random changes to training images that leave their labels correct."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import tensorflow as tf
from pydantic import Field

from pipeline.config.types import Fraction


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
        height, width = images.shape[1], images.shape[2]
        down, right = (tf.floor(draws[:, i] * (2 * self.shift + 1)) - self.shift for i in (0, 1))
        if not (self.rotation or self.scale):
            return _compiled_shift(images, down, right, self.shift)
        # The op maps each output pixel to its position in the input: these are inverse transforms.
        angle = (draws[:, 2] * 2 - 1) * math.radians(self.rotation)
        zoom = 1 + (draws[:, 3] * 2 - 1) * self.scale
        cos, sin = tf.cos(angle) / zoom, tf.sin(angle) / zoom
        y, x = (height - 1) / 2, (width - 1) / 2  # rotate and scale about the centre
        zero = tf.zeros_like(angle)
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


def _shift(images: tf.Tensor, down: tf.Tensor, right: tf.Tensor, largest: int) -> tf.Tensor:
    """Shift each image by whole pixels."""
    padded = tf.pad(images, [[0, 0], [largest, largest], [largest, largest]])
    down, right = (tf.cast(shift, tf.int32)[:, tf.newaxis] for shift in (down, right))
    rows = tf.gather(padded, tf.range(images.shape[1]) + largest - down, batch_dims=1)
    return tf.gather(rows, tf.range(images.shape[2]) + largest - right, axis=2, batch_dims=1)


# As one loop over the pixels, it takes a quarter of the time of the op above.
_compiled_shift: Callable[..., tf.Tensor] = tf.function(_shift, jit_compile=True)
