"""Seeded corruptions of test images, and the accuracy that is left, after MNIST-C.

MNIST-C (Mu and Gilmer, 2019) corrupts the 10,000 test images of MNIST. These are kinds after it,
drawn anew: the ways in which a digit is badly photographed, placed or written.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Corrupt = Callable[[Images, np.random.Generator], Images]

_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


def corrupt(images: Images, kind: str, seed: int = 0) -> Images:
    """Corrupt images.

    Args:
        images: uint8 of shape (N, height, width), light on dark.
        kind: one of `KINDS`.
        seed: of what is drawn for each image, such as its angle.

    Returns:
        New images of the same shape. Equal arguments give equal bytes.
    """
    return KINDS[kind](np.asarray(images), np.random.default_rng([seed, [*KINDS].index(kind)]))


def robust_accuracies(
    answer: Callable[[Images], NDArray[np.float32]],
    images: Images,
    labels: NDArray[np.uint8],
    seed: int = 0,
) -> dict[str, float]:
    """The accuracy on each kind of corrupted images, from 0 to 1.

    Args:
        answer: from images to the probabilities of the classes, shape (N, classes).
        images: uint8 of shape (N, height, width).
        labels: the true classes, shape (N,).
        seed: see `corrupt`.
    """
    return {
        kind: float((answer(corrupt(images, kind, seed)).argmax(1) == labels).mean())
        for kind in KINDS
    }


def _each(change: Callable[[Images, np.random.Generator], Images]) -> Corrupt:
    """A corruption of all images from one of a single image."""

    def corrupt_all(images: Images, random: np.random.Generator) -> Images:
        return np.stack([change(image, random) for image in images])

    return corrupt_all


def _warp(matrix: Callable[[np.random.Generator], list[list[float]]]) -> Corrupt:
    """A linear map about the centre, by a matrix of shape (2, 2) that is drawn for each image."""

    def warp(image: Images, random: np.random.Generator) -> Images:
        linear = np.array(matrix(random))
        centre = (np.array(image.shape[::-1]) - 1) / 2
        offset = centre - linear @ centre
        whole = np.hstack([linear, offset[:, None]])
        return np.asarray(cv2.warpAffine(image, whole, image.shape[::-1]), np.uint8)

    return _each(warp)


def _rotation(random: np.random.Generator) -> list[list[float]]:
    angle = np.deg2rad(random.uniform(15, 35) * random.choice([-1, 1]))
    return [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]


def _scale(random: np.random.Generator) -> list[list[float]]:
    factor = random.uniform(0.5, 0.75)
    return [[factor, 0], [0, factor]]


def _shear(random: np.random.Generator) -> list[list[float]]:
    return [[1, random.uniform(0.3, 0.6) * random.choice([-1, 1])], [0, 1]]


def _shift(image: Images, random: np.random.Generator) -> Images:
    rows, columns = (round(0.14 * side) for side in image.shape)
    move = np.array(
        [[1, 0, random.integers(-columns, columns + 1)], [0, 1, random.integers(-rows, rows + 1)]],
        np.float64,
    )
    return np.asarray(cv2.warpAffine(image, move, image.shape[::-1]), np.uint8)


def _occlude(image: Images, random: np.random.Generator) -> Images:
    """Hide a square near the centre, where the digit is."""
    side = round(0.22 * min(image.shape))
    top, left = (random.integers(size // 4, size - size // 4 - side + 1) for size in image.shape)
    hidden = image.copy()
    hidden[top : top + side, left : left + side] = 0
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
    "rotation": _warp(_rotation),
    "shift": _each(_shift),
    "scale": _warp(_scale),
    "shear": _warp(_shear),
    "contrast": _contrast,
    "thin": _thin,
    "thick": _thick,
    "occlusion": _each(_occlude),
}
