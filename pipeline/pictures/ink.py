"""Find the ink in a picture: on paper or board of any colour, in uneven light."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.pictures.lines import without_lines

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

_LONGEST = 768  # pixels of the longer side that are looked at
_SHORTEST = 384  # a smaller picture is enlarged
_INK_SHARE = 0.6  # if less of a picture is opaque, then what is opaque is the ink
_SMALL = 160  # pixels of the shorter side at which the paper is looked at
_DESK = 0.25  # a desk is darker than the paper on it by this share
_INNER = 0.3  # share of a sheet that is not its edge, at least
# The paper's colour is the median in windows of this share of the shorter side. Less than half of a
# window may be ink; in a smaller window, uneven light matters less.
_WINDOWS = (0.6, 1.2)
_LEAST = 60  # pixels of the least ink
_FAINTEST = 0.06  # ink differs from the paper by this share at least
_NOISE = 6.0  # and by this many deviations of the noise
_LIGHTER = 2.7  # how much less ink counts that is lighter than the paper
_DARKEST = 0.1  # of the brightest paper: in a darker place, differences say less


@dataclass(frozen=True)
class Ink:
    """The ink of a picture, at the size at which it was looked for.

    Attributes:
        colours: the picture, red, green and blue from 0 to 1, shape (rows, columns, 3).
        contrast: how far each pixel is from the colour of the paper, shape (rows, columns).
        mask: where there is ink.
    """

    colours: Floats
    contrast: Floats
    mask: Mask


def possible_ink(picture: Floats) -> Iterator[Ink]:
    """What may be the ink in a picture, the most likely first.

    Args:
        picture: red, green, blue and opacity from 0 to 1, shape (rows, columns, 4).
    """
    picture = _resized(picture)
    colours, opacity = picture[..., :3], picture[..., 3]
    opaque = opacity > 0.5
    if opaque.mean() < _INK_SHARE:
        yield Ink(colours * opacity[..., None], opacity, opaque)
        return
    if not opaque.all():
        colours = np.where(opaque[..., None], colours, np.median(colours[opaque], axis=0))
    sheet, outside = _sheet_on_desk(colours)
    yield from (_ink(sheet, outside, window) for window in _WINDOWS)


def _ink(colours: Floats, outside: Mask, window: float) -> Ink:
    """The ink on one sheet of paper; see `_WINDOWS`."""
    smooth = cv2.GaussianBlur(colours, (0, 0), 1)
    paper = _median(smooth, window)
    for _ in range(2):
        contrast, least = _contrast(smooth, paper)
        contrast[outside] = 0
        paper = _filled(smooth, _mask(contrast, least))
    contrast, least = _contrast(smooth, paper)
    contrast[outside] = 0
    mask = without_lines(_mask(contrast, least), ~outside)
    return Ink(colours, contrast, mask)


def _resized(picture: Floats) -> Floats:
    longest = max(picture.shape[:2])
    if longest > _LONGEST:
        factor, how = _LONGEST / longest, cv2.INTER_AREA
    elif longest < _SHORTEST:
        factor, how = _SHORTEST / longest, cv2.INTER_CUBIC
    else:
        return picture
    size = [max(round(side * factor), 1) for side in picture.shape[1::-1]]
    return np.clip(cv2.resize(picture, size, interpolation=how), 0, 1)


def _contrast(colours: Floats, paper: Floats) -> tuple[Floats, Floats]:
    """How far each pixel is from the paper, and how far ink is at least.

    Darker pixels are measured as a share of the paper's light, so that a shadow does not matter,
    and lighter ones as a share of all light, so that the dust on a board does not.
    """
    red, green, blue = cv2.split(colours - paper)
    distance = np.sqrt((red**2 + green**2 + blue**2) / 3)
    bright = np.maximum(np.maximum(paper[..., 0], paper[..., 1]), paper[..., 2])
    bright = np.maximum(bright, max(_DARKEST * float(bright.max()), 1e-3))
    scale = np.where(red + green + blue > 0, np.float32(_LIGHTER), bright)
    some = distance[::3, ::3]  # a sample is enough for medians, which are slow
    middle = float(np.median(some))
    noise = middle + _NOISE * 1.4826 * float(np.median(np.abs(some - middle)))
    return distance / scale, np.maximum(noise / scale, _FAINTEST)


def _median(colours: Floats, window: float) -> Floats:
    """The median colour in a window around each pixel."""
    rows, columns = colours.shape[:2]
    factor = min(_SMALL / min(rows, columns), 1)
    size = [max(round(side * factor), 3) for side in (columns, rows)]
    small, low, high = _bytes(cv2.resize(colours, size, interpolation=cv2.INTER_AREA))
    side = int(window * min(size)) // 2 * 2 + 1
    pad = side // 2
    small = cv2.copyMakeBorder(small, pad, pad, pad, pad, cv2.BORDER_REFLECT)
    median = cv2.medianBlur(small, side)[pad : pad + size[1], pad : pad + size[0]]
    paper = median.astype(np.float32) / 255 * (high - low) + low
    return cv2.resize(paper, (columns, rows), interpolation=cv2.INTER_LINEAR)


def _filled(colours: Floats, mask: Mask) -> Floats:
    """The paper as if there were no ink: its colour continues from the edges of the ink."""
    rows, columns = colours.shape[:2]
    factor = min(_SMALL / min(rows, columns), 1)
    size = [max(round(side * factor), 3) for side in (columns, rows)]
    covered = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.01
    covered = cv2.dilate(covered.astype(np.uint8), np.ones((5, 5), np.uint8))
    small, low, high = _bytes(cv2.resize(colours, size, interpolation=cv2.INTER_AREA))
    filled = cv2.inpaint(small, covered, 3, cv2.INPAINT_TELEA)
    filled = cv2.medianBlur(filled, 5)
    paper = cv2.GaussianBlur(filled.astype(np.float32), (0, 0), 1.5) / 255 * (high - low) + low
    return cv2.resize(paper, (columns, rows), interpolation=cv2.INTER_LINEAR)


def _bytes(colours: Floats) -> tuple[NDArray[np.uint8], float, float]:
    """Colours as bytes of their whole range, and the range."""
    low, high = float(colours.min()), float(colours.max())
    high = max(high, low + 1e-3)
    return ((colours - low) / (high - low) * 255).round().astype(np.uint8), low, high


def _sheet_on_desk(colours: Floats) -> tuple[Floats, Mask]:
    """The part of a picture with a sheet of paper, and where in it the desk is.

    If no sheet is seen on a desk, that is the whole picture.
    """
    rows, columns = colours.shape[:2]
    factor = min(256 / max(rows, columns), 1)
    size = [max(round(side * factor), 3) for side in (columns, rows)]
    small = _bytes(cv2.resize(colours, size, interpolation=cv2.INTER_AREA))[0]
    small = cv2.medianBlur(small, max(int(0.09 * min(size)) // 2 * 2 + 1, 3))
    sheets = (_sheet(grey) for grey in (small.mean(2).astype(np.uint8), small.min(2)))
    if (sheet := next((sheet for sheet in sheets if sheet is not None), None)) is None:
        return colours, np.zeros((rows, columns), bool)
    inside = cv2.resize(sheet, (columns, rows), interpolation=cv2.INTER_NEAREST) > 0
    down, across = np.nonzero(inside.any(1))[0], np.nonzero(inside.any(0))[0]
    view = slice(down[0], down[-1] + 1), slice(across[0], across[-1] + 1)
    colours, inside = colours[view], inside[view]
    paper = np.median(colours[inside], axis=0)
    return np.where(inside[..., None], colours, paper).astype(np.float32), ~inside


def _sheet(grey: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """The sheet of paper in a small picture without its ink, and without the edge of the sheet.

    It is 1 in a convex shape; None if there is no sheet.
    """
    bright = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[1]
    light, dark = grey[bright > 0], grey[bright == 0]
    if not light.size or not dark.size or light.mean() - dark.mean() < _DESK * light.mean():
        return None
    _, labels, stats, _ = cv2.connectedComponentsWithStats(bright, connectivity=4)
    label = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    contours, _ = cv2.findContours(
        (labels == label).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    contour = max(contours, key=cv2.contourArea)
    hull = cv2.fillConvexPoly(np.zeros_like(bright), cv2.convexHull(contour), 1)
    share = hull.mean()
    if not 0.06 < share < 0.95 or stats[label, cv2.CC_STAT_AREA] < 0.75 * hull.sum():
        return None
    edge = np.concatenate([hull[0], hull[-1], hull[:, 0], hull[:, -1]])
    if edge.mean() > 0.4:
        return None
    # The edge of a sheet is sharp, that of a lamp's light is not.
    kernel = np.ones((7, 7), np.uint8)
    within = (cv2.erode(hull, kernel) == 0) & (hull > 0)
    around = (cv2.dilate(hull, kernel) > 0) & (hull == 0)
    jump = np.median(grey[within]) - np.median(grey[around])
    margin = max(int(0.03 * min(grey.shape)), 1) * 2 + 1
    inner = cv2.erode(hull, np.ones((margin, margin), np.uint8), borderValue=0)
    # A bright stroke has a sharp edge too, but little besides it.
    is_sheet = jump > 0.6 * (light.mean() - dark.mean()) and inner.sum() > _INNER * hull.sum()
    return inner if is_sheet else None


def _mask(contrast: Floats, least: Floats) -> Mask:
    """Where the ink is: near the strongest contrast, and what is connected with it."""
    seen = contrast[contrast > least]
    if seen.size < _LEAST:
        return np.zeros(contrast.shape, bool)
    peak = float(np.partition(seen, -_LEAST)[-_LEAST])
    strong = contrast > np.maximum(0.5 * peak, least)
    weak = contrast > np.maximum(0.35 * peak, least)
    _, labels = cv2.connectedComponents(weak.astype(np.uint8), connectivity=8)
    kept = np.zeros(labels.max() + 1, bool)
    kept[labels[strong]] = True
    kept[0] = False
    return kept[labels]
