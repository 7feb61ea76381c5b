"""Read digits from image files: python -m pipeline.predict FILE... [--model ADDRESS]

ADDRESS is a model file (models/model.keras, the default), `runs:/<id>/model`,
`models:/mnist-classifier@champion`, or `git:<revision>`: the model of that revision, from DVC.
"""

import argparse
import math
import os
import stat
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline import address, archive, command
from pipeline.command import UserError

if TYPE_CHECKING:
    import keras
    from PIL.Image import Image

# Raster formats alone: Pillow hands PostScript to Ghostscript.
_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
_MAX_PIXELS = 25_000_000
_MAX_SIDE = 65_535  # scaling takes memory by the length of a side too
_TOO_LARGE = f"larger than {_MAX_PIXELS // 10**6} megapixels, or than {_MAX_SIDE} pixels on a side"
_BATCH = 256  # files that are answered at once


def read_image(path: Path, height: int, width: int, as_is: bool = False) -> NDArray[np.uint8]:
    """Read an image file as the network wants it: grey, of its size, light on dark.

    The first of several frames or pages counts. Greys of 16 bits are scaled by their whole range;
    those of 32 bits and floating-point ones have none, so they go from darkest to lightest.

    Args:
        path: a PNG, JPEG, GIF, BMP, TIFF, WebP or PPM file of 25 megapixels at most.
        height, width: of the result, in pixels; the image is scaled to fit and centred.
        as_is: leave the grey values alone. Otherwise an image with a light border, ink on paper, is
            inverted.

    Returns:
        uint8 of shape (height, width).

    Raises:
        UserError: when the file is not such an image.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    name = shown(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe or a device may never end
            raise UserError(f"{name}: not an image: not a regular file")
        with (
            warnings.catch_warnings(action="ignore"),  # it is read or refused
            Image.open(path, formats=_FORMATS) as image,
        ):
            if math.prod(image.size) > _MAX_PIXELS or max(image.size) > _MAX_SIDE:
                raise UserError(f"{name}: {_TOO_LARGE}")
            grey = _grey(image)
    except FileNotFoundError:
        raise UserError(f"{name}: no such file") from None
    except UnidentifiedImageError:
        formats = " or ".join([", ".join(_FORMATS[:-1]), _FORMATS[-1]])
        raise UserError(f"{name}: not an image of a format that is read: {formats}") from None
    except UserError:
        raise
    except Image.DecompressionBombError:
        raise UserError(f"{name}: {_TOO_LARGE}") from None
    except Exception as error:  # Pillow raises nearly everything at a damaged file
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise UserError(f"{name}: not an image that can be read: {reason[:300]}") from None
    pixels = np.asarray(grey)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    if not as_is and np.median(border) > 127:
        grey = ImageOps.invert(grey)
    if grey.size != (width, height):
        grey = ImageOps.pad(grey, (width, height), Image.Resampling.LANCZOS)
    return np.asarray(grey)


def shown(path: Path) -> str:
    """A file's name on one line, whatever it is made of: what cannot be printed is escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(path))


def _grey(image: "Image") -> "Image":
    """An image as 8-bit greys, upright, on white paper where it is transparent."""
    from PIL import Image, ImageOps

    image.load()
    try:
        upright = ImageOps.exif_transpose(image)
    except Exception:  # EXIF data that cannot be read: the pixels can
        upright = image
    if upright.mode.startswith(("I", "F")):
        return Image.fromarray(_eight_bits(np.asarray(upright)))
    if "A" in upright.getbands() or "transparency" in upright.info:
        paper = Image.new("RGBA", upright.size, "white")
        upright = Image.alpha_composite(paper, upright.convert("RGBA"))
    return upright.convert("L")


def _eight_bits(greys: NDArray[Any]) -> NDArray[np.uint8]:
    """Finer greys as uint8; Pillow would cut them off at 255."""
    if greys.dtype.kind == "u":  # 16 bits, of any byte order
        return (greys >> 8).astype(np.uint8)
    if not np.isfinite(greys).all():
        raise ValueError("it has pixels that are no numbers")
    darkest, lightest = float(greys.min()), float(greys.max())
    scale = 255 / (lightest - darkest) if lightest > darkest else 0
    return ((greys.astype(np.float64) - darkest) * scale).round().astype(np.uint8)


def main() -> int:
    """Print a line for each file: its name, the digit, its probability. 1 if a file was refused."""
    parser = argparse.ArgumentParser(
        "python -m pipeline.predict", description="Read digits from image files."
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument(
        "--model",
        default=address.DEFAULT,
        metavar="ADDRESS",
        help="a .keras file, runs:/<id>/model, models:/<name>@champion or git:<revision> "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--as-is", action="store_true", help="do not turn dark on light into light on dark"
    )
    arguments = parser.parse_args()
    with address.model_file(arguments.model) as path:
        model = archive.load(path, arguments.model)
    refused = 0
    try:
        for start in range(0, len(arguments.files), _BATCH):
            refused += _answer(model, arguments.files[start : start + _BATCH], arguments.as_is)
    except BrokenPipeError:  # who reads the answers has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 1 if refused else 0


def _answer(model: "keras.Model", paths: list[Path], as_is: bool) -> int:
    """Print the answers for files that fit into one batch; returns how many were refused."""
    height, width = model.inputs[0].shape[1:]
    images = {}
    for index, path in enumerate(paths):
        try:
            images[index] = read_image(path, height, width, as_is)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
    if images:
        probabilities = model.predict(np.stack(list(images.values())), verbose=0)
        for index, row in zip(images, probabilities, strict=True):
            print(f"{shown(paths[index])}\t{row.argmax()}\t{row.max():.4f}", flush=True)
    return len(paths) - len(images)


if __name__ == "__main__":
    command.run(main)
