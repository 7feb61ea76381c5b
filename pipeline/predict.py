"""Read digits from pictures: photos, scans and drawings, ink on paper or light on dark.

Examples:
    python -m pipeline.predict FILE... [--model URI] [--format csv] [--explain FOLDER]

FILE is a picture, a folder of pictures, a pattern, or `-` for names on stdin. URI is a model file
(models/model.keras, the default, or .tflite or .onnx), `runs:/<id>/model`,
`models:/mnist-classifier@champion`, or `git:<revision>`: the model of that revision, from DVC.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pipeline.artifacts.loading import load_main
from pipeline.config.paths import DEFAULT_MODEL
from pipeline.forms.predictor import Images, Predictor, threads
from pipeline.pictures.answers import FORMATS, Answer, make_writer
from pipeline.pictures.digit import Digit, NoDigitError, find_digit
from pipeline.pictures.files import display_name, read_picture, read_pixels
from pipeline.pictures.ink import Ink
from pipeline.pictures.names import picture_files
from pipeline.system import cli
from pipeline.system.errors import UserError

_BATCH = 256  # files that are read together

Explain = Callable[
    [Path, NDArray[np.float32], Digit | Ink | None, NDArray[np.float32] | None, str], None
]


def main() -> int:
    """Print a line for each file: its name, the digit, the digit's probability.

    Returns:
        1 if a file was refused or the reader of the output has exited, else 0.
    """
    arguments = _parse_arguments()
    predictor = load_main(arguments.model).predictor
    explain = None
    if arguments.explain:
        from pipeline.pictures.steps import StepsFolder

        explain = StepsFolder(arguments.explain).save
    refused = 0
    writer = make_writer(arguments.format)
    try:
        for answer in _answers(arguments, predictor, explain):
            refused += answer.probabilities is None
            writer.write(answer)
        writer.close()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output, such as `head`, has exited
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 1 if refused else 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m pipeline.predict", description="Read digits from pictures."
    )
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="a picture, a folder of pictures, a pattern in quotes, or - for names on stdin",
    )
    parser.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        metavar="URI",
        help="a .keras, .tflite or .onnx file, runs:/<id>/model, models:/<name>@champion or "
        "git:<revision> (default: %(default)s)",
    )
    parser.add_argument(
        "--format", choices=FORMATS, default="table", help="of the output (default: %(default)s)"
    )
    parser.add_argument(
        "--explain",
        type=Path,
        metavar="FOLDER",
        help="write into this folder a picture of how each digit was found",
    )
    parser.add_argument(
        "--as-is",
        action="store_true",
        help="only scale the pictures: for files of a data set, and for other things than digits",
    )
    return parser.parse_args()


def _answers(
    arguments: argparse.Namespace, predictor: Predictor, explain: Explain | None
) -> Iterator[Answer]:
    """Read the files and answer them, so many at a time that memory does not grow."""
    names = picture_files(arguments.files)
    read = partial(_read, shape=predictor.shape, as_is=arguments.as_is, keep_steps=bool(explain))
    cv2.setNumThreads(1)  # several files are read at a time
    # A bar after two seconds, if a person looks and does not see the answers already.
    shown = sys.stderr.isatty() and not sys.stdout.isatty()
    bar = tqdm(delay=2, unit=" files", disable=not shown)
    with ThreadPoolExecutor(threads()) as pool, bar:
        while paths := list(islice(names, 8 if explain else _BATCH)):
            files = list(pool.map(read, paths))
            images = [file.image for file in files if file.image is not None]
            rows = iter(predictor.answer(np.stack(images)) if images else ())
            for path, file in zip(paths, files, strict=True):
                row = None if file.image is None else next(rows)
                answer = Answer(path, row, file.reason)
                if explain and file.picture is not None:
                    explain(path, file.picture, file.found, row, file.reason)
                yield answer
            bar.update(len(paths))


@dataclass(frozen=True)
class _File:
    """A file that was read; what only the steps need is None without `--explain`."""

    image: Images | None = None
    reason: str = ""
    picture: NDArray[np.float32] | None = None
    found: Digit | Ink | None = None


def _read(path: Path, shape: tuple[int, int], as_is: bool, keep_steps: bool) -> _File:
    """Read a file, and find its digit.

    Args:
        path: the file.
        shape: height and width of the images that the model takes.
        as_is: only scale the picture.
        keep_steps: keep what the pictures of the steps need.
    """
    picture = None
    try:
        if as_is:
            image = read_pixels(path, *shape)
            return _File(image, "", read_picture(path) if keep_steps else None, Digit(image))
        picture = read_picture(path)
        digit = find_digit(picture, *shape)
    except NoDigitError as error:
        reason = f"{display_name(path)}: {error}"
        return _File(None, reason, *((picture, error.ink) if keep_steps else ()))
    except UserError as error:
        return _File(None, str(error))
    return _File(digit.image, "", *((picture, digit) if keep_steps else ()))


if __name__ == "__main__":
    cli.run(main)
