"""The pages of docs/benchmarks, and their charts."""

import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from benchmarks import charts, pages, rivals
from benchmarks.charts import CHARTS, Measured, chart_of, measured, page_of, rows_of

PAGE = """# Time

| | minutes | `n` |
|---|---|---|
| `make sweep` | 1.2 (1.1 to 1.4) | 20 |

2 cores.
"""


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("182", Measured("182", 182, 182, 182)),
        ("6,000,000 and 1,000,000", Measured("6,000,000", 6e6, 6e6, 6e6)),
        ("85.1 (72.9 to 116.7)", Measured("85.1", 85.1, 72.9, 116.7)),
        ("99.02 % (98.95)", Measured("99.02", 99.02, 99.02, 99.02)),
        ("462 MB", Measured("462", 462, 462, 462)),
    ],
)
def test_number_of_a_cell_is_read_with_its_spread(cell: str, number: Measured) -> None:
    assert measured(cell) == number


def test_deviation_is_a_spread() -> None:
    number = measured("99.02 ± 0.05 %")
    assert (number.text, number.value) == ("99.02", 99.02)
    assert (number.low, number.high) == pytest.approx((98.97, 99.07))


def test_table_of_a_page_is_read() -> None:
    assert rows_of(PAGE) == [["", "minutes", "n"], ["make sweep", "1.2 (1.1 to 1.4)", "20"]]


@pytest.mark.slow
@pytest.mark.parametrize("name", CHARTS)
def test_chart_shows_the_numbers_of_its_page(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charts, "chart_of", lambda name: tmp_path / "drawn.png")
    charts.draw(name)
    drawn, kept = (np.array(Image.open(path)) for path in (tmp_path / "drawn.png", chart_of(name)))
    assert drawn.shape == kept.shape
    # Processors may round a few pixels in other ways.
    assert (drawn != kept).mean() < 1e-4, "python -m benchmarks.charts draws it again"
    assert f"]({chart_of(name).name})" in page_of(name).read_text()


def test_page_has_the_chart_and_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chart(rows: list[list[str]]) -> Figure:
        """The sizes."""
        figure = Figure()
        figure.subplots().bar(rows[0], [measured(cell).value for cell in rows[1]])
        return figure

    monkeypatch.setattr(charts, "FOLDER", tmp_path)
    monkeypatch.setitem(CHARTS, "sizes", chart)
    monkeypatch.setattr(sys, "argv", ["/somewhere/benchmarks/sizes.py", "--rounds", "2"])
    doc = "Sizes: of things.\n\nExamples:\n    none\n\nThey are measured. Writes sizes.md.\n"
    pages.write_page("sizes", doc, ["| a | b |", "|---|---|", "| 1 | 2 |"], "2 cores")
    assert (tmp_path / "sizes.md").read_text() == (
        "# Sizes\n\nThey are measured.\n\n![The sizes](sizes.png)\n\n"
        "| a | b |\n|---|---|\n| 1 | 2 |\n\n"
        "2 cores. Command: `python -m benchmarks.sizes --rounds 2`.\n"
    )
    assert Image.open(tmp_path / "sizes.png").format == "PNG"


def test_searches_are_compared_by_medians_and_by_what_all_reached() -> None:
    ours = [[(30.0, 0.98), (60.0, 0.99)], [(60.0, 0.99), (90.0, 0.97)]]
    theirs = [[(60.0, 0.97), (120.0, 0.985)], [(120.0, 0.98), (240.0, 0.99)]]
    lines = rivals.table({"ours": ours, "theirs": theirs}, 2)
    assert lines[2:] == [
        "| ours | 1.2 (1.0 to 1.5) | 100 (80 to 120) | 0.9900 (0.9900 to 0.9900) "
        "| 1.0 (1.0 to 1.0) |",
        "| theirs | 3.0 (2.0 to 4.0) | 45 (30 to 60) | 0.9875 (0.9850 to 0.9900) "
        "| 3.0 (2.0 to 4.0) |",
    ]
