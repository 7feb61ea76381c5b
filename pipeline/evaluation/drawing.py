"""How pictures are drawn: the same everywhere, with fonts for nearly all scripts."""

import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.ft2font import FT2Font

from pipeline.system.files import atomic_write

_MATPLOTLIB = Path(mpl.get_data_path()) / "fonts/ttf"
# Fonts for what matplotlib's DejaVu Sans has not: Chinese, Japanese and Korean; emoji, and 19
# scripts from Arabic to Thai.
_PACKAGES = ("noto_cjk_sans_jp_regular", "manimgx_fonts")


@contextmanager
def drawing(texts: Sequence[str] | None = None) -> Iterator[None]:
    """Draw in this block with matplotlib's own settings, whatever a `matplotlibrc` says.

    A `$` is a dollar sign, because names are never mathematics. The fonts are those of installed
    packages, because each system has others.

    Args:
        texts: those that may need other letters than Latin ones. With it, only the fonts for their
            letters are used, because matplotlib asks each font for the size of each text, which
            takes half of the time of a drawing.
    """
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams["text.parse_math"] = False
        mpl.rcParams["font.family"] = _families("".join(texts)) if texts else _load_fonts()
        yield


def _families(text: str) -> list[str]:
    """The families that draw a text: the first, and those that have what the first has not."""
    first, *others = _load_fonts()
    missing = {ord(letter) for letter in text} - _characters(first)
    return [first, *(family for family in others if missing and missing & _characters(family))]


def label(name: str, width: int) -> str:
    """A name as it is drawn: in at most `width` columns; letters of East Asia take two.

    A character that no font has is written as its number, such as U+13000.
    """
    text = "".join(
        letter
        # Spaces and characters that only join others need no glyph.
        if any(ord(letter) in _characters(family) for family in _load_fonts())
        or unicodedata.category(letter) in ("Cf", "Zs")
        else f"U+{ord(letter):04X}"
        for letter in name
    )
    columns = 0
    for i, letter in enumerate(text):
        columns += 2 if unicodedata.east_asian_width(letter) in "FW" else 1
        if columns > width:
            return f"{text[: i - 1]}…"
    return text


def save_figure(figure: Figure, path: Path, **options: Any) -> None:
    """Write a figure as PNG. Equal figures give equal bytes. `options` go to `savefig`."""
    with atomic_write(path) as file:
        # `Software` is None, because matplotlib would write its version into the file.
        figure.savefig(file, format="png", dpi=100, metadata={"Software": None}, **options)


@cache
def _characters(family: str) -> frozenset[int]:
    """The characters that a family has. Matplotlib draws those that none has as boxes."""
    fonts = (font.fname for font in fontManager.ttflist if font.name == family)
    return frozenset(character for font in fonts for character in FT2Font(font).get_charmap())


@cache
def _load_fonts() -> list[str]:
    """Make matplotlib use the fonts of packages only.

    Returns:
        The families to draw with. The first one that has a character draws it.
    """
    fontManager.ttflist.clear()
    for folder in (_MATPLOTLIB, *map(files, _PACKAGES)):
        for font in sorted(folder.iterdir(), key=str):
            if font.name.endswith((".otf", ".ttf")):
                fontManager.addfont(str(font))
    added = (font for font in fontManager.ttflist if _MATPLOTLIB not in Path(font.fname).parents)
    return ["DejaVu Sans", *dict.fromkeys(font.name for font in added)]
