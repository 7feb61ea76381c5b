"""Read digits from image files: python -m pipeline.predict FILE... [--model ADDRESS]

ADDRESS is a model file (models/model.keras, the default), `runs:/<id>/model`,
`models:/mnist-classifier@champion`, or `git:<revision>`: the model of that revision, from DVC.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline import address, archive, command
from pipeline.command import UserError


def read_image(path: Path, height: int, width: int, as_is: bool = False) -> NDArray[np.uint8]:
    """Read an image file as the network wants it: grey, of its size, light on dark.

    Args:
        path: a file of any format that Pillow reads.
        height, width: of the result, in pixels; the image is scaled to fit and centred.
        as_is: leave the grey values alone. Otherwise an image with a light border, ink on paper, is
            inverted.

    Returns:
        uint8 of shape (height, width).

    Raises:
        UserError: when the file is not an image.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I;16"):
                # Pillow would cut 16-bit greys off at 255.
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            if "A" in upright.getbands() or "transparency" in upright.info:
                # What is transparent is paper.
                paper = Image.new("RGBA", upright.size, "white")
                upright = Image.alpha_composite(paper, upright.convert("RGBA"))
            grey = upright.convert("L")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: not an image that can be read: {error}") from None
    pixels = np.asarray(grey)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    if not as_is and np.median(border) > 127:
        grey = ImageOps.invert(grey)
    if grey.size != (width, height):
        grey = ImageOps.pad(grey, (width, height), Image.Resampling.LANCZOS)
    return np.asarray(grey)


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
    height, width = model.inputs[0].shape[1:]
    refused = 0
    for path in arguments.files:
        try:
            image = read_image(path, height, width, arguments.as_is)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            refused += 1
            continue
        probabilities = model.predict(image[np.newaxis], verbose=0)[0]
        print(f"{path}\t{probabilities.argmax()}\t{probabilities.max():.4f}", flush=True)
    return 1 if refused else 0


if __name__ == "__main__":
    command.run(main)
