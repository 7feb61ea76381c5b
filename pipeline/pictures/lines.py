"""Remove the printed lines of paper from ink."""

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

_LONGEST = 512  # pixels of the longer side at which lines are looked for
_STEP = np.pi / 360  # between the angles at which lines are looked for
_SLOPE = 12  # degrees by which the paper may be turned
_COVERED = 0.7  # share of a printed line that is seen as ink
_SPAN = 0.6  # share of the sheet's side along which it is seen
_MOST = 200  # lines that are looked at


def without_lines(mask: Mask, sheet: Mask) -> Mask:
    """Remove straight lines that cross the whole sheet; keep what crosses them.

    Args:
        mask: where there is ink.
        sheet: where the sheet of paper is.
    """
    rows, columns = mask.shape
    factor = min(_LONGEST / max(rows, columns), 1)
    size = [max(round(side * factor), 1) for side in (columns, rows)]
    small = (cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.2).astype(
        np.uint8
    )
    inside = cv2.resize(sheet.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    found = cv2.HoughLines(small, 1, _STEP, int(_COVERED * _SPAN * min(size)))
    lines = np.zeros_like(small)
    for rho, theta in [] if found is None else found[:_MOST].reshape(-1, 2):
        degrees = np.rad2deg(theta)
        if min(abs(degrees - 90), degrees, 180 - degrees) > _SLOPE:
            continue
        line = _line(rho, theta, small.shape)
        length = int(np.count_nonzero(line & inside))
        side = size[0] if abs(degrees - 90) < 45 else size[1]
        if length < _SPAN * side:
            continue
        thick = cv2.dilate(small, np.ones((3, 3), np.uint8))
        if np.count_nonzero(line & inside & thick) >= _COVERED * length and _reaches(
            line & inside & thick, line & inside
        ):
            lines |= line
    if not lines.any():
        return mask
    lines = cv2.resize(cv2.dilate(lines, np.ones((3, 3), np.uint8)), (columns, rows)) > 0
    return _erased(mask, lines)


def _line(rho: float, theta: float, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A line of Hough's space, drawn one pixel wide."""
    across, down = np.cos(theta), np.sin(theta)
    far = 2 * max(shape)
    ends = [
        (round(across * rho - sign * far * down), round(down * rho + sign * far * across))
        for sign in (1, -1)
    ]
    return cv2.line(np.zeros(shape, np.uint8), ends[0], ends[1], 1)


def _reaches(covered: NDArray[np.uint8], line: NDArray[np.uint8]) -> bool:
    """Whether both ends of a line are covered."""
    where = np.argwhere(line)
    ends = np.argwhere(covered)
    spread = np.ptp(where, axis=0).max()
    return bool(spread and np.ptp(ends, axis=0).max() > 0.95 * spread)


def _erased(mask: Mask, lines: Mask) -> Mask:
    """The ink without lines, but with what is ink on both sides of a line."""
    rest = (mask & ~lines).astype(np.uint8)
    width = (
        2 * round(float(cv2.distanceTransform(lines.astype(np.uint8), cv2.DIST_L2, 3).max())) + 3
    )
    closed = rest
    for kernel in (np.ones((width, 1), np.uint8), np.ones((1, width), np.uint8)):
        closed = closed | cv2.morphologyEx(rest, cv2.MORPH_CLOSE, kernel)
    return (rest > 0) | ((closed > 0) & lines & mask)
