"""Seeded corruptions of test images, and the accuracy that is left, after MNIST-C.

MNIST-C (Mu and Gilmer, 2019) corrupts the 10,000 test images of MNIST. The kinds here are like its
own, and are computed here: the ways in which a digit is badly photographed, placed or written.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.data.splits import parts

Images = NDArray[np.uint8]
Corrupt = Callable[[Images, np.random.Generator], Images]

_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


def corrupt(images: Images, kind: str) -> Images:
    """Corrupt images.

    Args:
        images: uint8 of shape (N, height, width), light on dark.
        kind: one of `KINDS`.

    Returns:
        New images of the same shape. Equal arguments give equal bytes.
    """
    return KINDS[kind](np.asarray(images), _draws(kind))


def robust_accuracies(
    answer: Callable[[Images], NDArray[np.float32]],
    images: Images,
    labels: NDArray[np.uint8],
) -> dict[str, float]:
    """The accuracy on each kind of corrupted images, from 0 to 1.

    Args:
        answer: from images to the probabilities of the classes, shape (N, classes).
        images: uint8 of shape (N, height, width).
        labels: the true classes, shape (N,).
    """
    accuracies = {}
    for kind, change in KINDS.items():
        draws = _draws(kind)
        correct = 0
        for rows in parts(len(images)):
            answers = answer(change(np.asarray(images[rows]), draws))
            correct += int((answers.argmax(1) == labels[rows]).sum())
        accuracies[kind] = correct / len(labels)
    return accuracies


def _draws(kind: str) -> np.random.Generator:
    """Draws what differs from image to image, such as the angle of a rotation."""
    return np.random.default_rng([0, [*KINDS].index(kind)])


def _warp(images: Images, maps: NDArray[np.float64]) -> Images:
    """Apply a linear map about the centre to each image.

    Args:
        images: uint8 of shape (N, height, width).
        maps: from old places (x, y) to new ones, shape (N, 2, 2) or (N, 2, 3) with a shift.
    """
    size = images.shape[:0:-1]
    centre = (np.array(size) - 1) / 2
    shifts = maps[..., 2:] if maps.shape[-1] == 3 else 0
    linear = maps[..., :2]
    offsets = (centre - linear @ centre)[..., None] + shifts
    whole = np.concatenate([linear, offsets], axis=-1)
    warped = [cv2.warpAffine(image, each, size) for image, each in zip(images, whole, strict=True)]
    return np.stack(warped).astype(np.uint8)


def _maps(values: list[list[NDArray[np.float64] | float]]) -> NDArray[np.float64]:
    """Matrices of shape (N, rows, columns) from the values at each place."""
    rows = [np.stack(np.broadcast_arrays(*row), axis=-1) for row in values]
    return np.stack(np.broadcast_arrays(*rows), axis=-2)


def _signs(random: np.random.Generator, count: int) -> NDArray[np.float64]:
    return random.choice([-1.0, 1.0], count)


def _rotation(images: Images, random: np.random.Generator) -> Images:
    angles = np.deg2rad(random.uniform(15, 35, len(images)) * _signs(random, len(images)))
    cosine, sine = np.cos(angles), np.sin(angles)
    return _warp(images, _maps([[cosine, -sine], [sine, cosine]]))


def _scale(images: Images, random: np.random.Generator) -> Images:
    factors = random.uniform(0.5, 0.75, len(images))
    return _warp(images, _maps([[factors, 0.0], [0.0, factors]]))


def _shear(images: Images, random: np.random.Generator) -> Images:
    slopes = random.uniform(0.3, 0.6, len(images)) * _signs(random, len(images))
    return _warp(images, _maps([[1.0, slopes], [0.0, 1.0]]))


def _shift(images: Images, random: np.random.Generator) -> Images:
    count = len(images)
    across, down = (
        random.integers(1, max(round(0.14 * side), 1) + 1, count) * _signs(random, count)
        for side in images.shape[:0:-1]
    )
    return _warp(images, _maps([[1.0, 0.0, across], [0.0, 1.0, down]]))


def _occlude(images: Images, random: np.random.Generator) -> Images:
    """Hide a square near the centre, where the digit is."""
    side = round(0.22 * min(images.shape[1:]))
    tops, lefts = (
        random.integers(size // 4, size - size // 4 - side + 1, len(images))
        for size in images.shape[1:]
    )
    hidden = images.copy()
    for image, top, left in zip(hidden, tops, lefts, strict=True):
        image[top : top + side, left : left + side] = 0
    return hidden


def _blur(images: Images, random: np.random.Generator) -> Images:
    sigma = 0.045 * min(images.shape[1:])
    return np.stack([cv2.GaussianBlur(image, (0, 0), sigma) for image in images]).astype(np.uint8)


def _noise(images: Images, random: np.random.Generator) -> Images:
    noise = random.standard_normal(images.shape, np.float32)
    return np.clip(images + 60 * noise, 0, 255).astype(np.uint8)


def _contrast(images: Images, random: np.random.Generator) -> Images:
    factors = random.uniform(0.15, 0.4, (len(images), 1, 1))
    return np.round(images * factors).astype(np.uint8)


def _thin(images: Images, random: np.random.Generator) -> Images:
    return np.stack([cv2.erode(image, _CROSS) for image in images]).astype(np.uint8)


def _thick(images: Images, random: np.random.Generator) -> Images:
    return np.stack([cv2.dilate(image, _CROSS) for image in images]).astype(np.uint8)


KINDS: dict[str, Corrupt] = {
    "blur": _blur,
    "noise": _noise,
    "rotation": _rotation,
    "shift": _shift,
    "scale": _scale,
    "shear": _shear,
    "contrast": _contrast,
    "thin": _thin,
    "thick": _thick,
    "occlusion": _occlude,
}
