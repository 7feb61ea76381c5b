"""Draw how a digit was found: the picture, the ink, what the model sees, and its answer."""

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline.pictures.digit import Digit
from pipeline.pictures.files import display_name
from pipeline.pictures.ink import Ink

Pixels = NDArray[np.uint8]

_SIDE = 240  # pixels of each step
_GAP = 12
_TITLE = 22
_BLUE = (31, 119, 180)
_RED = (214, 39, 40)


class StepsFolder:
    """A folder with a picture of the steps of each file.

    Pictures of an earlier run are replaced. Files of one name, from several folders, get numbers.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: set[Path] = set()

    def save(
        self,
        path: Path,
        picture: NDArray[np.float32],
        found: Digit | Ink | None,
        probabilities: NDArray[np.float32] | None,
        reason: str,
    ) -> None:
        """Draw the steps into the folder, with the name of the file; else as `draw_steps`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        target, number = self._folder / f"{path.stem}.png", 1
        while target in self._written:
            number += 1
            target = self._folder / f"{path.stem}-{number}.png"
        self._written.add(target)
        row = () if probabilities is None else probabilities.tolist()
        without_name = reason.removeprefix(f"{display_name(path)}: ")
        draw_steps(picture, found, row, without_name).save(target)


def draw_steps(
    picture: NDArray[np.float32],
    found: Digit | Ink | None,
    probabilities: Sequence[float] = (),
    reason: str = "",
) -> Image.Image:
    """Draw the steps side by side, with a title over each.

    Args:
        picture: red, green, blue and opacity from 0 to 1, shape (rows, columns, 4).
        found: the digit, or the ink of a picture that was refused.
        probabilities: the model's probability of each class.
        reason: why the picture was refused.
    """
    ink = found.ink if isinstance(found, Digit) else found
    steps = [("picture", _on_white(picture))]
    if ink is not None:
        box = found.box if isinstance(found, Digit) else None
        steps.append(("paper", _boxed(ink.colours, box)))
        steps.append(("contrast with the paper", _grey(1 - ink.contrast / _peak(ink))))
        steps.append(("ink", _grey(~ink.mask)))
    if isinstance(found, Digit):
        steps.append(("what the model sees", np.dstack([found.image] * 3)))
    panels = [_fitted(pixels) for _, pixels in steps]
    titles = [title for title, _ in steps]
    if reason or len(probabilities):
        panels.append(_text(reason) if reason else _bars(probabilities))
        titles.append("refused" if reason else "probability of each class")
    size = (len(panels) * (_SIDE + _GAP) + _GAP, _SIDE + _TITLE + 2 * _GAP)
    sheet = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for number, (title, panel) in enumerate(zip(titles, panels, strict=True)):
        left = _GAP + number * (_SIDE + _GAP)
        pen.text((left, _GAP - 4), title, "black", font)
        sheet.paste(panel, (left, _GAP + _TITLE))
        pen.rectangle(
            (left - 1, _GAP + _TITLE - 1, left + _SIDE, _GAP + _TITLE + _SIDE), outline="silver"
        )
    return sheet


def _peak(ink: Ink) -> float:
    """The contrast that is drawn black."""
    return max(float(ink.contrast[ink.mask].mean()) if ink.mask.any() else 0, 0.05)


def _on_white(picture: NDArray[np.float32]) -> Pixels:
    """A picture on white; on a chequered ground where it is transparent."""
    rows, columns = np.indices(picture.shape[:2]) // max(max(picture.shape) // 24, 1)
    ground = np.where((rows + columns) % 2, 0.6, 0.75)[..., None]
    opacity = picture[..., 3:]
    return _bytes((picture[..., :3] * opacity + ground * (1 - opacity)).astype(np.float32))


def _boxed(colours: NDArray[np.float32], box: tuple[int, int, int, int] | None) -> Pixels:
    pixels = _bytes(colours).copy()
    if box:
        top, left, bottom, right = box
        thick = max(round(max(pixels.shape) / 150), 1)
        cv2.rectangle(pixels, (left, top), (right, bottom), _RED, thick)
    return pixels


def _grey(values: NDArray[np.generic]) -> Pixels:
    return np.dstack([_bytes(values.astype(np.float32))] * 3)


def _bytes(values: NDArray[np.float32]) -> Pixels:
    return np.asarray((np.clip(values, 0, 1) * 255).round().astype(np.uint8))


def _fitted(pixels: Pixels) -> Image.Image:
    """A step scaled into its square; small pixels stay squares."""
    factor = _SIDE / max(pixels.shape)
    factor = math.floor(factor) if factor >= 1 else factor
    size = [max(math.floor(side * factor), 1) for side in pixels.shape[1::-1]]
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST
    scaled = Image.fromarray(cv2.resize(pixels, size, interpolation=how))
    panel = Image.new("RGB", (_SIDE, _SIDE), (240, 240, 240))
    panel.paste(scaled, ((_SIDE - size[0]) // 2, (_SIDE - size[1]) // 2))
    return panel


def _text(reason: str) -> Image.Image:
    panel = Image.new("RGB", (_SIDE, _SIDE), "white")
    font, lines = ImageFont.load_default(15), [""]
    for word in reason.split():
        if font.getlength(f"{lines[-1]} {word}") > _SIDE - 24:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    ImageDraw.Draw(panel).multiline_text((12, 12), "\n".join(lines[:10]), _RED, font)
    return panel


def _bars(probabilities: Sequence[float]) -> Image.Image:
    """A bar for each class; the longest ones if there are many."""
    ranked = sorted(enumerate(probabilities), key=lambda pair: -pair[1])[:10]
    panel = Image.new("RGB", (_SIDE, _SIDE), "white")
    pen, font = ImageDraw.Draw(panel), ImageFont.load_default(14)
    for row, (label, probability) in enumerate(sorted(ranked)):
        top = 6 + row * 23
        colour = _BLUE if label == ranked[0][0] else "silver"
        pen.text((8, top), str(label), "black", font)
        pen.rectangle((34, top, 34 + round(probability * 140), top + 16), fill=colour)
        pen.text((182, top), f"{probability:.4f}", "black", font)
    return panel
