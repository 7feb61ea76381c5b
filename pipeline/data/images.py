"""Read image files as the network needs them: grey, of its input size, light on dark."""

import math
import stat
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.system.errors import UserError, one_line

# Only raster formats: Pillow would run Ghostscript on PostScript.
_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
_MAX_PIXELS = 25_000_000
_MAX_SIDE = 65_535  # the memory for scaling also grows with the length of a side
_TOO_LARGE = f"larger than {_MAX_PIXELS // 10**6} megapixels, or than {_MAX_SIDE} pixels on a side"


def read_image(path: Path, height: int, width: int, as_is: bool = False) -> NDArray[np.uint8]:
    """Read an image file as the network needs it: grey, of its input size, light on dark.

    If there are several frames or pages, the first one is read. 16-bit greys are scaled by their
    full range. 32-bit and float greys have no fixed range, so they are scaled from darkest to
    lightest.

    Args:
        path: a PNG, JPEG, GIF, BMP, TIFF, WebP or PPM file of 25 megapixels at most.
        height, width: the size of the result in pixels; the image is scaled to fit and centred.
        as_is: keep the grey values. Otherwise an image with a light border, such as ink on paper,
            is inverted.

    Returns:
        uint8 of shape (height, width).

    Raises:
        UserError: when the file is not such an image.
    """
    name = display_name(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe or a device may never end
            raise UserError(f"{name}: not an image: not a regular file")
        with (
            warnings.catch_warnings(action="ignore"),  # a file is either read or refused
            Image.open(path, formats=_FORMATS) as image,
        ):
            if math.prod(image.size) > _MAX_PIXELS or max(image.size) > _MAX_SIDE:
                raise UserError(f"{name}: {_TOO_LARGE}")
            grey = _grey(image)
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
    pixels = np.asarray(grey)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    if not as_is and np.median(border) > 127:
        grey = ImageOps.invert(grey)
    if grey.size != (width, height):
        grey = ImageOps.pad(grey, (width, height), Image.Resampling.LANCZOS)
    return np.asarray(grey)


def display_name(path: Path) -> str:
    """The name of a file on one line: characters that cannot be printed are escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(path))


def _grey(image: Image.Image) -> Image.Image:
    """An image as 8-bit greys, turned upright, with white for transparent pixels."""
    image.load()
    try:
        upright = ImageOps.exif_transpose(image)
    except Exception:  # the EXIF data are damaged, but the pixels can be read
        upright = image
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
