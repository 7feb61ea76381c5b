"""Seeded pictures of digits as people photograph, scan and draw them.

Each picture is a scene: a digit of a data set is drawn again with a pen, on a paper, in a light,
and taken with a camera. `KINDS` names the scenes. A blank kind has no digit; a double kind has two.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pillow_heif import register_heif_opener
from skimage.morphology import skeletonize

register_heif_opener()

Pixels = NDArray[np.float32]
Random = np.random.Generator
Colour = tuple[float, float, float]

_THICKEST = 0.3  # the width of a pen that is not redrawn, as a share of the digit's height
_SKELETON = 160  # pixels of the height at which a digit is thinned


@dataclass
class Scene:
    """What is in a picture, and how it was taken. Lengths are shares unless they say pixels."""

    size: tuple[int, int] = (800, 800)  # height and width in pixels
    digit_height: float = 0.5  # of the shorter side
    centre: tuple[float, float] = (0.5, 0.5)  # down and across
    pen_width: float = 0.09  # of the digit's height
    pen: Colour = (0.12, 0.12, 0.14)
    grain: float = 0.0  # how uneven the stroke is
    opacity: float = 1.0
    paper: Colour = (0.95, 0.95, 0.94)
    paper_texture: float = 0.008
    light: Callable[[Random, int, int], Pixels] | None = None  # multiplies the whole scene
    under: Callable[[Random, Pixels], Pixels] | None = None  # rules or squares on the paper
    desk: Colour | None = None  # seen around the paper
    cloth: float = 0.0  # the contrast of the desk's stripes
    blur: float = 0.6  # sigma in pixels
    noise: float = 0.008
    tilt: float = 0.0  # degrees
    exposure: float = 1.0
    transparent: bool = False  # only the ink is opaque
    encode: Callable[[Pixels, Random], bytes] = field(default=lambda pixels, _: jpeg(pixels))


def stroke_of(digit: NDArray[np.uint8], height: int, width: float) -> Pixels:
    """A digit drawn again with a pen of another width.

    Args:
        digit: an image of the data set, uint8 of shape (28, 28), light on dark.
        height: the height of the ink in pixels.
        width: the width of the pen in pixels.

    Returns:
        The share of each pixel that is covered, with a margin around the ink.
    """
    line, scale = _line_of(digit.tobytes(), digit.shape)
    factor = height / scale
    pad = int(np.ceil(width / 2 / factor)) + 3
    line = np.pad(line, pad, constant_values=True)
    distance = cv2.distanceTransform(line.astype(np.uint8), cv2.DIST_L2, 5)
    size = [max(round(side * factor), 1) for side in distance.shape[::-1]]
    distance = cv2.resize(distance, size, interpolation=cv2.INTER_LINEAR) * factor
    return np.clip(width / 2 - cv2.GaussianBlur(distance, (0, 0), 1) + 0.5, 0, 1)


@lru_cache(maxsize=100)
def _line_of(content: bytes, shape: tuple[int, int]) -> tuple[NDArray[np.bool_], float]:
    """The middle line of a digit as False in True, and the height of the digit."""
    digit = np.frombuffer(content, np.uint8).reshape(shape).astype(np.float32)
    rows, columns = np.nonzero(digit > 60)
    box = digit[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    factor = _SKELETON / max(box.shape)
    size = [max(round(side * factor), 1) for side in box.shape[::-1]]
    large = np.pad(cv2.resize(box, size, interpolation=cv2.INTER_CUBIC), 12)
    line = skeletonize(cv2.GaussianBlur(large, (0, 0), 3) > 110)
    return ~line, max(np.ptp(np.nonzero(line), axis=1)) + 1


def can_be_redrawn(digit: NDArray[np.uint8]) -> bool:
    """Whether the middle line of a digit is the same digit: it is one part, of a thin pen.

    A thick pen fills the loop of a 6 or an 8.
    """
    ink = (digit > 60).astype(np.uint8)
    count = cv2.connectedComponents(ink, connectivity=8)[0] - 1
    inside = cv2.distanceTransform(ink, cv2.DIST_L2, 5)
    height = max(np.ptp(np.nonzero(ink), axis=1)) + 1
    return bool(count == 1 and 4 * float(inside[ink > 0].mean()) / height < _THICKEST)


def smooth_noise(rng: Random, height: int, width: int, cells: int) -> Pixels:
    """Noise of mean 0 and deviation 1 that varies over 1/cells of the longer side."""
    longest = max(height, width)
    small = [max(2, round(cells * side / longest)) for side in (height, width)]
    noise = rng.standard_normal(small).astype(np.float32)
    large = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return (large - large.mean()) / (large.std() + 1e-6)


def draw(scene: Scene, digits: list[NDArray[np.uint8]], rng: Random) -> bytes:
    """Draw and take a picture of digits side by side; none gives a blank picture."""
    height, width = scene.size
    short = min(height, width)
    cover = np.zeros((height, width), np.float32)
    if digits:
        _write(scene, digits, rng, cover)
    if scene.transparent:
        ink = np.full((height, width, 3), scene.pen, np.float32)
        return _saved(_image(np.dstack([ink, cover])), "PNG")
    paper = np.full((height, width, 3), scene.paper, np.float32)
    paper *= 1 + scene.paper_texture * smooth_noise(rng, height, width, short // 3)[..., None]
    if scene.under:
        paper = scene.under(rng, paper)
    cover = (scene.opacity * cover)[..., None]
    page = paper * (1 - cover) + np.array(scene.pen, np.float32) * cover
    if scene.desk:
        page = _on_desk(page, scene.desk, scene.cloth, rng)
    elif scene.tilt:
        page = _turn(page, scene.tilt)
    if scene.light:
        page = page * scene.light(rng, height, width)[..., None]
    page = cv2.GaussianBlur(page * scene.exposure, (0, 0), max(scene.blur, 0.01))
    page += scene.noise * rng.standard_normal(page.shape).astype(np.float32)
    return scene.encode(np.clip(page, 0, 1), rng)


def _write(scene: Scene, digits: list[NDArray[np.uint8]], rng: Random, cover: Pixels) -> None:
    """Add the strokes of digits to the cover, moved so that they lie within it."""
    height, width = cover.shape
    tall = max(round(scene.digit_height * min(height, width)), 12)
    marks = []
    for digit in digits:
        mark = stroke_of(digit, tall, max(scene.pen_width * tall, 1.0))
        if scene.grain:
            grain = 0.7 * smooth_noise(rng, mark.shape[0], mark.shape[1], max(mark.shape) // 2)
            grain += 0.5 * smooth_noise(rng, mark.shape[0], mark.shape[1], 12)
            mark = mark * np.clip(1 - scene.grain * np.maximum(grain + 0.2, 0), 0, 1)
        marks.append(mark)
        marks.append(np.zeros((mark.shape[0], round(tall * rng.uniform(0.12, 0.4))), np.float32))
    marks.pop()
    top = max(mark.shape[0] for mark in marks)
    ink = np.hstack([np.pad(mark, ((0, top - len(mark)), (0, 0))) for mark in marks])
    if max(ink.shape[0] / height, ink.shape[1] / width) > 0.97:
        factor = 0.97 / max(ink.shape[0] / height, ink.shape[1] / width)
        ink = cv2.resize(ink, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    place = []
    for side, ink_side, share in zip((height, width), ink.shape, scene.centre, strict=True):
        place.append(int(np.clip(share * side - ink_side / 2, 0, side - ink_side)))
    view = cover[place[0] : place[0] + ink.shape[0], place[1] : place[1] + ink.shape[1]]
    np.maximum(view, ink, out=view)


def _turn(page: Pixels, degrees: float) -> Pixels:
    height, width = page.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    return cv2.warpAffine(page, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)


def _on_desk(page: Pixels, desk: Colour, cloth: float, rng: Random) -> Pixels:
    """The page as a note that lies, slightly turned, on a desk."""
    height, width = page.shape[:2]
    table = np.empty_like(page)
    table[:] = desk
    table *= 1 + 0.06 * smooth_noise(rng, height, width, 40)[..., None]
    table *= 1 + 0.05 * smooth_noise(rng, height, width, 6)[..., None]
    if cloth:
        stripes = np.sin(np.arange(width) * 2 * np.pi / (0.07 * width))[None, :, None]
        table *= (1 + cloth * np.sign(stripes)).astype(np.float32)
    share = rng.uniform(0.55, 0.85)
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    centre = np.array([width / 2, height / 2], np.float32)
    moved = (corners - centre) * share + centre
    moved += rng.uniform(-0.04, 0.04, (4, 2)).astype(np.float32) * min(height, width)
    angle = np.deg2rad(rng.uniform(-8, 8))
    sine, cosine = np.sin(angle), np.cos(angle)
    turn = np.array([[cosine, -sine], [sine, cosine]], np.float32)
    moved = (moved - centre) @ turn.T + centre
    matrix = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
    there = cv2.warpPerspective(np.ones((height, width), np.float32), matrix, (width, height))
    warped = cv2.warpPerspective(page, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    shade = cv2.GaussianBlur(there, (0, 0), 6)
    table *= (1 - 0.3 * np.roll(shade, 5, 0))[..., None]
    return warped * there[..., None] + table * (1 - there[..., None])


# Lights


def window(rng: Random, height: int, width: int) -> Pixels:
    """Light that falls off to one side."""
    angle = rng.uniform(0, 2 * np.pi)
    down, across = np.mgrid[-0.5 : 0.5 : height * 1j, -0.5 : 0.5 : width * 1j]
    slope = np.cos(angle) * across + np.sin(angle) * down
    return (1 - rng.uniform(0.3, 0.6) * (slope + 0.5)).astype(np.float32)


def lamp(rng: Random, height: int, width: int) -> Pixels:
    """A bright spot, with dark corners."""
    down, across = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    down, across = down - rng.uniform(-0.4, 0.4), across - rng.uniform(-0.4, 0.4)
    away = np.clip(down**2 + across**2, 0, 1.6)
    return (1 - rng.uniform(0.25, 0.45) * away).astype(np.float32)


def shadow(rng: Random, height: int, width: int) -> Pixels:
    """The edge of a shadow across the middle, hard or soft."""
    angle = rng.uniform(0, 2 * np.pi)
    down, across = np.mgrid[-0.5 : 0.5 : height * 1j, -0.5 : 0.5 : width * 1j]
    side = np.cos(angle) * across + np.sin(angle) * down + rng.uniform(-0.2, 0.2)
    edge = rng.uniform(0.005, 0.08)
    dark = 1 / (1 + np.exp(np.clip(-side / edge, -50, 50)))
    return (1 - rng.uniform(0.3, 0.6) * dark).astype(np.float32)


def edge_of_desk(rng: Random, height: int, width: int) -> Pixels:
    """The dark desk past one edge of the paper."""
    down, across = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    place = [down, 1 - down, across, 1 - across][int(rng.integers(4))]
    place = place + rng.uniform(-0.05, 0.05) * (across if place is down else down)
    return np.where(place < rng.uniform(0.04, 0.13), rng.uniform(0.15, 0.4), 1).astype(np.float32)


def dark_edges(rng: Random, height: int, width: int) -> Pixels:
    """The dark frame of a scanner whose lid is open."""
    light = np.full((height, width), 0.05, np.float32)
    top, left, bottom, right = (round(rng.uniform(0.01, 0.06) * height) + 1 for _ in range(4))
    light[top:-bottom, left:-right] = 1
    return light


def finger(rng: Random, height: int, width: int) -> Pixels:
    """A finger or a thumb that reaches into the picture."""
    light = np.ones((height, width), np.float32)
    side = int(rng.integers(4))
    along = rng.uniform(0.1, 0.9)
    place = [(along, 0.0), (along, 1.0), (0.0, along), (1.0, along)][side]
    centre = (round(place[0] * width), round(place[1] * height))
    axes = (round(0.09 * width), round(0.15 * height))
    cv2.ellipse(light, centre, axes, 0, 0, 360, rng.uniform(0.45, 0.65), -1, cv2.LINE_AA)
    return cv2.GaussianBlur(light, (0, 0), 2)


# Papers


def rules(rng: Random, paper: Pixels) -> Pixels:
    """Lined paper."""
    height, _ = paper.shape[:2]
    gap = round(height * rng.uniform(0.08, 0.2))
    ink = (rng.uniform(0.35, 0.7), rng.uniform(0.5, 0.75), rng.uniform(0.75, 0.9))
    return _lines(paper, ink, range(int(rng.integers(gap)), height, gap), (), rng)


def squares(rng: Random, paper: Pixels) -> Pixels:
    """Squared paper."""
    height, width = paper.shape[:2]
    gap = round(min(height, width) * rng.uniform(0.05, 0.15))
    ink = (rng.uniform(0.5, 0.75), rng.uniform(0.6, 0.8), rng.uniform(0.75, 0.9))
    begin = int(rng.integers(gap))
    return _lines(paper, ink, range(begin, height, gap), range(begin, width, gap), rng)


def _lines(paper: Pixels, ink: Colour, rows: Any, columns: Any, rng: Random) -> Pixels:
    thick = max(1, round(max(paper.shape) * rng.uniform(0.001, 0.003)))
    paper = paper.copy()
    for row in rows:
        paper[row : row + thick] = ink
    for column in columns:
        paper[:, column : column + thick] = ink
    return paper


def punched(rng: Random, paper: Pixels) -> Pixels:
    """Paper with the two holes of a punch at its left edge."""
    height, width = paper.shape[:2]
    radius, paper = round(0.018 * max(height, width)), paper.copy()
    for share in (0.35, 0.65):
        centre = (round(0.06 * width), round(share * height))
        cv2.circle(paper, centre, radius, (0.25, 0.22, 0.2), -1, cv2.LINE_AA)
    return paper


def underlined(rng: Random, paper: Pixels) -> Pixels:
    """Paper with one printed line across, near the bottom."""
    height, _ = paper.shape[:2]
    row = round(height * rng.uniform(0.88, 0.94))
    return _lines(paper, (0.2, 0.2, 0.2), [row], (), rng)


def crumpled(rng: Random, paper: Pixels) -> Pixels:
    """Paper with folds."""
    height, width = paper.shape[:2]
    folds = np.abs(smooth_noise(rng, height, width, 5)) * 0.05
    folds += np.abs(smooth_noise(rng, height, width, 10)) * 0.03
    return (paper * (1 - folds[..., None])).astype(np.float32)


def wiped(rng: Random, board: Pixels) -> Pixels:
    """A board with the dust of what was wiped away."""
    height, width = board.shape[:2]
    dust = 0.035 * np.abs(smooth_noise(rng, height, width, 8))
    return (board + dust[..., None]).astype(np.float32)


# Files


def _image(pixels: Pixels) -> Image.Image:
    return Image.fromarray((pixels * 255).round().astype(np.uint8))


def _saved(image: Image.Image, form: str, **settings: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, form, **settings)
    return content.getvalue()


def jpeg(pixels: Pixels, quality: int = 90) -> bytes:
    """A JPEG file."""
    return _saved(_image(pixels), "JPEG", quality=quality)


def bad_jpeg(pixels: Pixels, rng: Random) -> bytes:
    """A JPEG file with blocks that can be seen."""
    return jpeg(pixels, int(rng.integers(12, 30)))


def heic(pixels: Pixels, _: Random) -> bytes:
    """A HEIC file, as from a phone."""
    return _saved(_image(pixels), "HEIF", quality=70)


def avif(pixels: Pixels, _: Random) -> bytes:
    """An AVIF file."""
    return _saved(_image(pixels), "AVIF", quality=60)


def turned(pixels: Pixels, rng: Random) -> bytes:
    """A JPEG file that is stored on its side, and says so in its EXIF data."""
    orientation, turn = [(6, 1), (8, 3), (3, 2)][int(rng.integers(3))]
    exif = Image.Exif()
    exif[0x0112] = orientation
    return _saved(_image(np.rot90(pixels, turn)), "JPEG", quality=90, exif=exif)


def grey_16(pixels: Pixels, _: Random) -> bytes:
    """A PNG file of 16-bit greys."""
    greys = (pixels.mean(2) * 65535).round().astype(np.uint16)
    return _saved(Image.fromarray(greys), "PNG")


def png(pixels: Pixels, _: Random) -> bytes:
    """A PNG file."""
    return _saved(_image(pixels), "PNG")


# Kinds


def scene_of(kind: str, rng: Random) -> Scene:
    """A scene of a kind, with what varies within the kind drawn at random."""
    shape = (3, 4) if rng.random() < 0.5 else (4, 3)
    unit = rng.uniform(90, 260)
    scene = Scene(
        size=(round(shape[0] * unit), round(shape[1] * unit)),
        digit_height=rng.uniform(0.35, 0.75),
        centre=(rng.uniform(0.4, 0.6), rng.uniform(0.4, 0.6)),
        pen_width=rng.uniform(0.07, 0.13),
        tilt=rng.uniform(-4, 4),
        blur=rng.uniform(0.5, 1.2),
    )
    for name, value in KINDS[kind](rng).items():
        setattr(scene, name, value)
    return scene


def _fine(rng: Random) -> float:
    return rng.uniform(0.02, 0.045)


def _grey(rng: Random, low: float, high: float) -> Colour:
    value = rng.uniform(low, high)
    return (value, value, value)


_PENS: list[Colour] = [
    *((0.8, 0.15, 0.15), (0.15, 0.25, 0.75), (0.1, 0.55, 0.25), (0.9, 0.45, 0.1)),
    *((0.55, 0.2, 0.6), (0.85, 0.3, 0.55), (0.2, 0.65, 0.8)),
]
_PAPERS: list[Colour] = [
    *((0.98, 0.93, 0.55), (0.98, 0.75, 0.8), (0.7, 0.85, 0.95), (0.75, 0.92, 0.7)),
    (0.8, 0.68, 0.5),
]


def _one_of(rng: Random, colours: list[Colour]) -> Colour:
    return colours[int(rng.integers(len(colours)))]


def _corner(rng: Random) -> tuple[float, float]:
    return (rng.choice([0.15, 0.85]), rng.choice([0.15, 0.85]))


def _board(rng: Random) -> dict[str, Any]:
    return {
        "paper": _one_of(rng, [(0.12, 0.25, 0.18), (0.1, 0.1, 0.11), (0.2, 0.22, 0.25)]),
        "pen": (0.85, 0.85, 0.82),
        "grain": rng.uniform(0.3, 0.7),
        "under": wiped,
        "pen_width": rng.uniform(0.05, 0.11),
    }


KINDS: dict[str, Callable[[Random], dict[str, Any]]] = {
    "felt pen": lambda rng: {},
    "marker": lambda rng: {"pen_width": rng.uniform(0.14, 0.22)},
    "pencil": lambda rng: {
        "pen": _grey(rng, 0.3, 0.5),
        "grain": rng.uniform(0.2, 0.5),
        "pen_width": _fine(rng),
        "opacity": 0.85,
    },
    "ballpoint": lambda rng: {
        "pen": (0.1, 0.15, rng.uniform(0.35, 0.6)),
        "pen_width": rng.uniform(0.018, 0.035),
        "grain": 0.15,
    },
    "coloured pen": lambda rng: {"pen": _one_of(rng, _PENS)},
    "yellow highlighter": lambda rng: {"pen": (0.95, 0.9, 0.2), "pen_width": 0.15},
    "coloured paper": lambda rng: {"paper": _one_of(rng, _PAPERS)},
    "chalk": _board,
    "whiteboard": lambda rng: {"light": lamp, "pen": _one_of(rng, _PENS), "pen_width": _fine(rng)},
    "lined paper": lambda rng: {"under": rules, "pen_width": rng.uniform(0.035, 0.09)},
    "squared paper": lambda rng: {"under": squares, "pen_width": rng.uniform(0.035, 0.09)},
    "pencil on lined paper": lambda rng: {
        "under": rules,
        "pen": _grey(rng, 0.25, 0.4),
        "pen_width": rng.uniform(0.03, 0.05),
    },
    "punched paper": lambda rng: {"under": punched},
    "underlined": lambda rng: {"under": underlined},
    "white pen on dark paper": lambda rng: {
        "paper": _one_of(rng, [(0.15, 0.1, 0.3), (0.35, 0.08, 0.1), (0.05, 0.2, 0.25)]),
        "pen": (0.95, 0.95, 0.95),
        "pen_width": rng.uniform(0.04, 0.09),
    },
    "edge of the desk": lambda rng: {"light": edge_of_desk},
    "dark edges of a scan": lambda rng: {"light": dark_edges},
    "finger at the edge": lambda rng: {"light": finger},
    "yellow note on a light desk": lambda rng: {
        "desk": (0.8, 0.77, 0.72),
        "paper": (0.98, 0.9, 0.45),
    },
    "note on a patterned cloth": lambda rng: {"desk": (0.55, 0.5, 0.6), "cloth": 0.25},
    "gradient, light on dark": lambda rng: {
        "paper": (0.35, 0.38, 0.45),
        "pen": (0.95, 0.95, 0.95),
        "light": window,
    },
    "crumpled paper": lambda rng: {"under": crumpled},
    "paper of grey 240": lambda rng: {"paper": (0.94, 0.94, 0.94), "paper_texture": 0.0},
    "paper of grey 220": lambda rng: {"paper": (0.86, 0.86, 0.86), "paper_texture": 0.0},
    "note on a dark desk": lambda rng: {"desk": _grey(rng, 0.08, 0.25)},
    "note on a wooden desk": lambda rng: {"desk": (0.5, rng.uniform(0.3, 0.4), 0.2)},
    "shadow across": lambda rng: {"light": shadow},
    "light from one side": lambda rng: {"light": window},
    "under a lamp": lambda rng: {"light": lamp},
    "underexposed": lambda rng: {"exposure": rng.uniform(0.08, 0.25), "noise": 0.012},
    "overexposed": lambda rng: {"exposure": 1.5, "pen": _grey(rng, 0.3, 0.45)},
    "faint": lambda rng: {"opacity": rng.uniform(0.2, 0.35)},
    "in a corner": lambda rng: {"centre": _corner(rng), "digit_height": 0.25},
    "on a whole sheet": lambda rng: {
        "size": (1600, 1200),
        "digit_height": rng.uniform(0.06, 0.1),
        "centre": (rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9)),
    },
    "small": lambda rng: {"digit_height": rng.uniform(0.12, 0.2)},
    "in a small file": lambda rng: {"size": (64, 64), "noise": 0.02, "tilt": 0.0},
    "tight": lambda rng: {"digit_height": 0.96, "tilt": 0.0, "centre": (0.5, 0.5)},
    "tilted": lambda rng: {"tilt": rng.choice([-1, 1]) * rng.uniform(8, 14)},
    "out of focus": lambda rng: {"blur": rng.uniform(4, 8)},
    "noise of a dark room": lambda rng: {"noise": rng.uniform(0.06, 0.1), "exposure": 0.5},
    "blocks of JPEG": lambda rng: {"encode": bad_jpeg},
    "HEIC of a phone": lambda rng: {"encode": heic, "light": window},
    "AVIF": lambda rng: {"encode": avif},
    "turned by EXIF": lambda rng: {"encode": turned},
    "16-bit scan": lambda rng: {"encode": grey_16, "noise": 0.003},
    "drawn light on black": lambda rng: {
        "paper": (0.0, 0.0, 0.0),
        "pen": (1.0, 1.0, 1.0),
        "noise": 0.0,
        "encode": png,
    },
    "black ink on transparent": lambda rng: {"transparent": True, "pen": (0.0, 0.0, 0.0)},
    "white ink on transparent": lambda rng: {"transparent": True, "pen": (1.0, 1.0, 1.0)},
    "coloured ink on transparent": lambda rng: {"transparent": True, "pen": _one_of(rng, _PENS)},
}
# Backgrounds of blank and of double pictures.
_PLAIN: tuple[str, ...] = (
    "felt pen",
    "pencil",
    "ballpoint",
    "chalk",
    "lined paper",
    "squared paper",
)
_PLAIN += ("crumpled paper", "note on a dark desk", "shadow across", "light from one side")
_PLAIN += ("underexposed", "noise of a dark room", "paper of grey 240", "coloured paper")


def picture_of(kind: str, digits: list[NDArray[np.uint8]], rng: Random) -> bytes:
    """The content of the file of one picture.

    Args:
        kind: a key of `KINDS`, "blank" for no digit, or "double" for two.
        digits: images of the data set, uint8 of shape (28, 28); one is drawn, or two.
        rng: where all chance comes from.
    """
    if kind not in ("blank", "double"):
        return draw(scene_of(kind, rng), digits[:1], rng)
    scene = scene_of(_PLAIN[int(rng.integers(len(_PLAIN)))], rng)
    if kind == "blank":
        return draw(scene, [], rng)
    scene.digit_height = min(scene.digit_height, 0.45)
    return draw(scene, digits[:2], rng)
