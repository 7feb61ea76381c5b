import os
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from pipeline.config.paths import REPOSITORY
from pipeline.evaluation.drawing import drawing, label, save_figure

DRAW = """
import pipeline
import sys
from pathlib import Path
from tests.unit.evaluation.test_drawing import draw
draw(Path(sys.argv[1]), "7")
"""
NAMES = [
    *("日本語", "简体中文", "한국어", "العربية", "עברית", "हिन्दी", "বাংলা", "தமிழ்", "ภาษาไทย"),
    *("አማርኛ", "ქართული", "Ελληνικά", "українська", "😀 🦄"),
]


def draw(path: Path, name: str, texts: Sequence[str] | None = None) -> bytes:
    with drawing(texts):
        figure = Figure(figsize=(3, 1))
        figure.text(0.1, 0.5, label(name, 24))
        save_figure(figure, path)
    return path.read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_fonts_have_the_characters_of_a_name(tmp_path: Path, name: str) -> None:
    assert label(name, 24) == name
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of a character that it draws as a box
        one = draw(tmp_path / "one.png", name)
        # With the fonts for these letters alone, the picture is the same.
        assert one == draw(tmp_path / "few.png", name, ["7", name])
    assert one != draw(tmp_path / "two.png", name[::-1])


@pytest.mark.parametrize("name", ["$x^2$", "$", r"\alpha", r"$\frac{$", "%", "a_b^c", "<b>", "{}"])
def test_name_is_not_mathematics(tmp_path: Path, name: str) -> None:
    """The signs are drawn: without them, the picture differs."""
    picture = draw(tmp_path / "name.png", name)
    assert picture != draw(tmp_path / "empty.png", "")
    for sign in "$^_\\":
        if sign in name:
            assert picture != draw(tmp_path / "without.png", name.replace(sign, ""))


@pytest.mark.parametrize(
    ("name", "width", "expected"),
    [
        ("seven", 5, "seven"),
        ("sevens", 5, "seve…"),
        ("日本", 4, "日本"),
        ("日本語", 5, "日…"),
        ("\U00013000", 24, "U+13000"),  # a hieroglyph, which no font has
        ("a\u200db c", 24, "a\u200db c"),
    ],
)
def test_label_of_a_name(name: str, width: int, expected: str) -> None:
    assert label(name, width) == expected


@pytest.mark.slow
def test_settings_of_the_user_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("figure.facecolor: red\nfont.size: 30\n")
    home = tmp_path / ".config/matplotlib"
    home.mkdir(parents=True)
    (home / "matplotlibrc").write_text("savefig.bbox: tight\ntext.usetex: true\n")
    path = os.pathsep.join([str(REPOSITORY), *sys.path])
    variables = {"HOME": str(tmp_path), "MPLBACKEND": "none", "PYTHONPATH": path}
    for name, folder in (("here", tmp_path), ("home", REPOSITORY)):
        picture = tmp_path / f"{name}.png"
        command = [sys.executable, "-c", DRAW, str(picture)]
        subprocess.run(command, cwd=folder, env={**os.environ, **variables}, check=True)
        assert picture.read_bytes() == draw(tmp_path / "plain.png", "7")


def test_settings_hold_only_while_the_picture_is_drawn(tmp_path: Path) -> None:
    with mpl.rc_context({"font.size": 30}):
        assert draw(tmp_path / "one.png", "7")
        assert mpl.rcParams["font.size"] == 30
        assert mpl.rcParams["text.parse_math"]
