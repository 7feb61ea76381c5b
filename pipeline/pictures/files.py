"""Read picture files: as colours in which a digit is looked for, or as they are."""

import math
import os
import stat
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from pillow_heif import register_heif_opener

from pipeline.system.errors import UserError, one_line

register_heif_opener()

# Only raster formats: Pillow would run Ghostscript on PostScript.
_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "HEIF", "AVIF")
_MAX_PIXELS = 25_000_000
_MAX_SIDE = 65_535  # the memory for scaling also grows with the length of a side
_TOO_LARGE = f"larger than {_MAX_PIXELS // 10**6} megapixels, or than {_MAX_SIDE} pixels on a side"
_LONGEST = 1536  # pixels of a side from which a picture is reduced
_DEPTHS = (8, 10, 12, 14, 16)  # bits of a grey, whatever the file stores it in

T = TypeVar("T")


def read_picture(source: Path | BinaryIO, name: str = "") -> NDArray[np.float32]:
    """Read a picture file as colours, turned upright by its EXIF data.

    If there are several frames or pages, the first one is read. A large picture is reduced. Greys
    of more than 8 bits are scaled by the least depth that holds them: 10, 12, 14 or 16 bits; those
    of 32 bits and floats from darkest to lightest.

    Args:
        source: a PNG, JPEG, GIF, BMP, TIFF, WebP, PPM, HEIC or AVIF file of 25 megapixels at most.
        name: how errors name it; by default its path.

    Returns:
        Red, green, blue and opacity from 0 to 1, shape (rows, columns, 4).

    Raises:
        UserError: when the file is not such a picture.
    """
    return _read(source, name, _colours)


def read_pixels(
    source: Path | BinaryIO, height: int, width: int, name: str = ""
) -> NDArray[np.uint8]:
    """Read a picture file as it is: in greys, scaled to fit and centred, and nothing else.

    Transparent pixels are white. 16-bit greys are scaled by their full range.

    Args:
        source, name: as for `read_picture`.
        height, width: the size of the result in pixels.

    Returns:
        uint8 of shape (height, width).

    Raises:
        UserError: when the file is not such a picture.
    """
    grey = _read(source, name, _grey)
    if grey.size != (width, height):
        grey = ImageOps.pad(grey, (width, height), Image.Resampling.LANCZOS)
    return np.asarray(grey)


def display_name(path: Path) -> str:
    """The name of a file on one line: characters that cannot be printed are escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(path))


def _read(source: Path | BinaryIO, name: str, convert: Callable[[Image.Image], T]) -> T:
    """Open a file, check its size, and convert its first frame."""
    name = name or (display_name(source) if isinstance(source, Path) else "the picture")
    try:
        if isinstance(source, Path) and not stat.S_ISREG(mode := source.stat().st_mode):
            if stat.S_ISDIR(mode):
                os.scandir(source).close()  # raises why a folder cannot be listed
            # Reading a pipe or a device may never end.
            raise UserError(f"{name}: not an image: not a regular file")
        with (
            warnings.catch_warnings(action="ignore"),  # a file is either read or refused
            Image.open(source, formats=_FORMATS) as image,
        ):
            if math.prod(image.size) > _MAX_PIXELS or max(image.size) > _MAX_SIDE:
                raise UserError(f"{name}: {_TOO_LARGE}")
            return convert(image)
    except FileNotFoundError:
        raise UserError(f"{name}: no such file") from None
    except UnidentifiedImageError:
        formats = " or ".join([", ".join(_FORMATS[:-1]), _FORMATS[-1]])
        raise UserError(f"{name}: not an image in a supported format: {formats}") from None
    except UserError:
        raise
    except Image.DecompressionBombError:
        raise UserError(f"{name}: {_TOO_LARGE}") from None
    except Exception as error:  # a damaged file can raise nearly any error
        reason = getattr(error, "strerror", None) or one_line(error)
        raise UserError(f"{name}: not an image that can be read: {reason[:300]}") from None


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # the EXIF data are damaged, but the pixels can be read
        return image


def _colours(image: Image.Image) -> NDArray[np.float32]:
    image.draft("RGB", (2 * _LONGEST, 2 * _LONGEST))  # decodes a large JPEG at a smaller size
    upright = _upright(image)
    step = math.ceil(max(upright.size) / _LONGEST)
    if upright.mode.startswith(("I", "F")):
        greys = _unit(np.asarray(upright))[::step, ::step]
        return np.dstack([greys, greys, greys, np.ones_like(greys)])
    if upright.mode not in ("L", "RGB", "RGBA", "LA", "PA", "P", "1"):
        upright = upright.convert("RGB")
    colours = upright.convert("RGBA")
    if step > 1:
        colours = colours.reduce(step)
    return np.asarray(colours, np.float32) / np.float32(255)


def _unit(greys: NDArray[Any]) -> NDArray[np.float32]:
    """Greys of more than 8 bits as a share of their range."""
    if greys.dtype.kind == "u":
        lightest = int(greys.max())
        depth = next(depth for depth in _DEPTHS if lightest < 2**depth)
        return (greys / np.float32(2**depth - 1)).astype(np.float32)
    return _eight_bits(greys).astype(np.float32) / np.float32(255)


def _grey(image: Image.Image) -> Image.Image:
    """An image as 8-bit greys, turned upright, with white for transparent pixels."""
    upright = _upright(image)
    if upright.mode.startswith(("I", "F")):
        return Image.fromarray(_eight_bits(np.asarray(upright)))
    if "A" in upright.getbands() or "transparency" in upright.info:
        paper = Image.new("RGBA", upright.size, "white")
        upright = Image.alpha_composite(paper, upright.convert("RGBA"))
    return upright.convert("L")


def _eight_bits(greys: NDArray[Any]) -> NDArray[np.uint8]:
    """Greys of more than 8 bits as uint8. Pillow would clip them at 255."""
    if greys.dtype.kind == "u":  # 16 bits, of any byte order
        return (greys >> 8).astype(np.uint8)
    if not np.isfinite(greys).all():
        raise ValueError("some pixels are not numbers")
    darkest, lightest = float(greys.min()), float(greys.max())
    scale = 255 / (lightest - darkest) if lightest > darkest else 0
    return ((greys.astype(np.float64) - darkest) * scale).round().astype(np.uint8)
