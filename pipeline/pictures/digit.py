"""Find the digit in a picture, and bring it to the form of MNIST's images.

MNIST's authors scaled each digit into a box of 20×20 pixels with its proportions, and put its
centre of mass into the centre of 28×28 pixels (LeCun et al., 1998, https://doi.org/10.1109/5.726791,
section III.A). Here the ink is found first, on paper or board of any colour and in uneven light.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.pictures.ink import Ink, possible_ink
from pipeline.system.errors import UserError

Floats = NDArray[np.float32]
Grey = NDArray[np.uint8]
Mask = NDArray[np.bool_]

_BOX = 20 / 28  # the side of the box that the digit fills, as a share of the image
_STROKE = 0.11  # the least width of a stroke, as a share of the box: MNIST's pens
_EDGE = 0.1  # what covers this share of an edge is a finger, or the edge of the paper
_THICK = 0.35  # the widest stroke, as a share of the digit's height
_HOLES = 4  # holes as wide as the line: a digit has two at most
_CLOSE = 0.25  # parts of one digit are nearer to each other than this share of its height
_SECOND = 0.5  # a second digit has at least this share of the first one's height


class NoDigitError(UserError):
    """The picture does not show one digit; the message says why.

    Attributes:
        ink: what was taken for ink.
        steps: a drawing of what was seen, if the server made one.
    """

    def __init__(self, reason: str, ink: Ink | None = None) -> None:
        """Store the reason and the ink."""
        super().__init__(reason)
        self.ink = ink
        self.steps = ""


@dataclass(frozen=True)
class Digit:
    """A digit in the form of MNIST, and how it was found.

    Attributes:
        image: uint8 of shape (height, width), light on dark.
        ink: the ink of the picture; None if the picture has the form of MNIST already.
        box: top, left, bottom and right of the digit in the ink's pixels.
    """

    image: Grey
    ink: Ink | None = None
    box: tuple[int, int, int, int] = (0, 0, 0, 0)


def find_digit(picture: Floats, height: int = 28, width: int = 28) -> Digit:
    """Find the one digit in a picture, and bring it to the form of MNIST's images.

    Args:
        picture: red, green, blue and opacity from 0 to 1, shape (rows, columns, 4).
        height, width: the size of the result in pixels.

    Raises:
        NoDigitError: when there is no digit, or more than one.
    """
    for given in (picture[..., 0], 1 - picture[..., 0]) if _is_grey(picture) else ():
        if given.shape == (height, width) and _is_in_form(given):
            return Digit((given * 255).round().astype(np.uint8))
    failures = []
    for ink in possible_ink(picture):
        try:
            mask = _one_digit(ink.mask)
        except NoDigitError as error:
            failures.append(NoDigitError(str(error), ink))
            continue
        rows, columns = np.nonzero(mask)
        box = (int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1)
        part = mask[box[0] : box[2], box[1] : box[3]]
        return Digit(_in_form(part, height, width), ink, box)
    raise failures[0]


def _is_grey(picture: Floats) -> bool:
    return bool((picture[..., 1:3] == picture[..., :1]).all() and (picture[..., 3] == 1).all())


def _is_in_form(grey: Floats) -> bool:
    """Whether a digit on black fills the box, and has its mass in the centre, as MNIST's do."""
    rows, columns = np.nonzero(grey > 1e-6)
    if not rows.size:
        return False
    longest = max(np.ptp(rows), np.ptp(columns)) + 1
    offsets = [
        np.average(np.arange(len(mass)), weights=mass) - (len(mass) - 1) / 2
        for mass in (grey.sum(1), grey.sum(0))
    ]
    box = _BOX * min(grey.shape)
    return bool(0.9 * box <= longest <= 1.1 * box and np.abs(offsets).max() <= 1.5)


def _one_digit(mask: Mask) -> Mask:
    """The part of the ink that is the digit."""
    labels, parts = _parts(mask)
    if not parts:
        raise NoDigitError("no digit is seen")
    groups = _groups(parts)
    main = max(groups, key=lambda group: sum(part.area for part in group))
    tall = max(_height(main), _width(main))
    digit = np.isin(labels, [part.label for part in main])
    inside = cv2.distanceTransform(np.pad(digit, 1).astype(np.uint8), cv2.DIST_L2, 5)
    if 2 * inside.max() > _THICK * tall:
        raise NoDigitError("no digit is seen: there is a spot, and no line")
    if _holes(digit, (4 * inside[inside > 0].mean()) ** 2) > _HOLES:
        raise NoDigitError("no digit is seen: there is a pattern, and no line")
    others = [g for g in groups if g is not main and _height(g) >= _SECOND * _height(main)]
    if others:
        raise NoDigitError(f"{len(others) + 1} digits are seen: show only one")
    return digit & mask


@dataclass(frozen=True)
class _Part:
    label: int
    top: int
    left: int
    bottom: int
    right: int
    area: int


def _parts(mask: Mask) -> tuple[NDArray[np.int32], list[_Part]]:
    """The connected parts of the ink, with their labels, without specks and what is at the edge."""
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, _disc(2))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
    parts = [
        _Part(label, top, left, top + height, left + width, area)
        for label, (left, top, width, height, area) in enumerate(stats.tolist())
        if label
    ]
    cut = {
        label
        for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1])
        for label in np.flatnonzero(np.bincount(edge) > _EDGE * len(edge)).tolist()
    }
    short = min(mask.shape)
    whole = [part for part in parts if part.label not in cut]
    if not any(part.bottom - part.top > 0.05 * short for part in whole):
        # A picture that is cut tight around the digit.
        whole = [part for part in parts if part.bottom - part.top > 0.6 * short]
    largest = max((part.area for part in whole), default=0)
    return labels, [part for part in whole if part.area >= max(0.02 * largest, 12)]


def _holes(mask: Mask, least: float) -> int:
    """The number of holes of a least area in pixels."""
    contours, tree = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE
    )
    parents = [] if tree is None else tree[0, :, 3].tolist()
    return sum(
        parent >= 0 and cv2.contourArea(contour) >= least
        for contour, parent in zip(contours, parents, strict=True)
    )


def _disc(radius: int) -> NDArray[np.uint8]:
    side = 2 * radius + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))


def _groups(parts: list[_Part]) -> list[list[_Part]]:
    """Parts that are near each other, for their size, as groups."""
    groups: list[list[_Part]] = []
    for part in sorted(parts, key=lambda part: -part.area):
        near = [group for group in groups if any(_near(part, other) for other in group)]
        groups = [group for group in groups if group not in near]
        groups.append([part, *(other for group in near for other in group)])
    return groups


def _near(one: _Part, other: _Part) -> bool:
    across = max(one.left, other.left) - min(one.right, other.right)
    down = max(one.top, other.top) - min(one.bottom, other.bottom)
    tall = max(one.bottom - one.top, other.bottom - other.top)
    both_tall = min(one.bottom - one.top, other.bottom - other.top) >= _SECOND * tall
    if both_tall and across > 0:
        return False
    return max(across, down) < _CLOSE * tall


def _height(group: list[_Part]) -> int:
    return max(part.bottom for part in group) - min(part.top for part in group)


def _width(group: list[_Part]) -> int:
    return max(part.right for part in group) - min(part.left for part in group)


def _in_form(part: Mask, height: int, width: int) -> Grey:
    """Scale a digit into the box, with strokes as wide as MNIST's, centred by its mass."""
    side = _BOX * min(height, width)
    part = np.pad(part, max(part.shape) // 4 + 2).astype(np.uint8)
    rows, columns = np.nonzero(part)
    longest = max(np.ptp(rows), np.ptp(columns)) + 1
    inside = cv2.distanceTransform(part, cv2.DIST_L2, 5)
    stroke = 4 * float(inside[part > 0].mean()) / longest
    grow = max(_STROKE - stroke, 0) * longest / 2
    outside = cv2.distanceTransform(1 - part, cv2.DIST_L2, 5)
    cover = (
        np.clip(grow + 1 - outside, 0, 1).astype(np.float32) if grow else part.astype(np.float32)
    )
    rows, columns = np.nonzero(cover)
    cover = cover[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    factor = side / max(cover.shape)
    size = [max(round(length * factor), 1) for length in cover.shape[::-1]]
    small = cv2.resize(cover, size, interpolation=cv2.INTER_AREA)
    down, across = np.mgrid[: small.shape[0], : small.shape[1]]
    total = float(small.sum())
    top = round((height - 1) / 2 - float((down * small).sum()) / total)
    left = round((width - 1) / 2 - float((across * small).sum()) / total)
    top = min(max(top, 0), height - small.shape[0])
    left = min(max(left, 0), width - small.shape[1])
    image = np.zeros((height, width), np.float32)
    image[top : top + small.shape[0], left : left + small.shape[1]] = small
    return (image * 255).round().astype(np.uint8)
