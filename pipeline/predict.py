"""Read digits from image files.

Examples:
    python -m pipeline.predict FILE... [--model URI]

URI is a model file (models/model.keras, the default), `runs:/<id>/model`,
`models:/mnist-classifier@champion`, or `git:<revision>`: the model of that revision, from DVC.
"""

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.config.paths import DEFAULT_MODEL
from pipeline.data.images import display_name, read_image
from pipeline.system import cli
from pipeline.system.errors import UserError

_BATCH = 256  # files that are predicted together

# From images, uint8 of shape (N, height, width), to probabilities of shape (N, classes).
Predict = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def main() -> int:
    """Print a line for each file: its name, the digit, the digit's probability.

    Returns:
        1 if a file was refused or the reader of the output has exited, else 0.
    """
    arguments = _parse_arguments()

    source: AbstractContextManager[Path] = nullcontext(Path(arguments.model))
    if not Path(arguments.model).is_file():
        # Only a URI needs MLflow, whose import takes four seconds.
        from pipeline.artifacts.uri import resolve_model

        source = resolve_model(arguments.model)
    with source as path:
        from pipeline.artifacts.keras_file import load_model

        model = load_model(path, arguments.model)
    shape = model.inputs[0].shape[1:]
    refused = 0
    try:
        for start in range(0, len(arguments.files), _BATCH):
            paths = arguments.files[start : start + _BATCH]
            images = _read_images(paths, shape, arguments.as_is)
            refused += len(paths) - len(images)
            _print_answers(images, partial(model.predict, verbose=0))
    except BrokenPipeError:  # the reader of the output, such as `head`, has exited
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 1 if refused else 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m pipeline.predict", description="Read digits from image files."
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        metavar="URI",
        help="a .keras file, runs:/<id>/model, models:/<name>@champion or git:<revision> "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--as-is", action="store_true", help="do not invert dark digits on a light background"
    )
    return parser.parse_args()


def _read_images(
    paths: list[Path], shape: tuple[int, int], as_is: bool
) -> list[tuple[Path, NDArray[np.uint8]]]:
    """Read the files. Print a line on stderr for each file that is refused."""
    images = []
    for path in paths:
        try:
            images.append((path, read_image(path, *shape, as_is)))
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
    return images


def _print_answers(images: list[tuple[Path, NDArray[np.uint8]]], predict: Predict) -> None:
    if not images:
        return
    probabilities = predict(np.stack([pixels for _, pixels in images]))
    for (path, _), row in zip(images, probabilities, strict=True):
        print(f"{display_name(path)}\t{row.argmax()}\t{row.max():.4f}", flush=True)


if __name__ == "__main__":
    cli.run(main)
