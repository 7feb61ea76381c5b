"""Image files for tests."""

from pathlib import Path

import numpy as np
from PIL import Image

# A light stroke on a dark background, like the digits of the data set.
DIGIT = np.zeros((8, 8), np.uint8)
DIGIT[2:6, 3:5] = [[200, 250]] * 4


def save_image(folder: Path, image: Image.Image, name: str = "image.png") -> Path:
    """Save an image in a folder; the suffix of its name gives the format."""
    image.save(folder / name)
    return folder / name
