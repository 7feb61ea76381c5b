"""reports/report.html: all results of an evaluation on one page without other files."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from pipeline.system.files import write_text
from pipeline.system.templates import render

_MOST_CLASSES = 40  # whose confusions fit on a page
# Pictures in a page do not inherit its colours.
_SVG_STYLE = (
    "<style>:root{color:#1b1f24}@media (prefers-color-scheme: dark){:root{color:#e6e8eb}}"
    "text{fill:currentColor}</style>"
)


@dataclass(frozen=True)
class Illustration:
    """A figure of the page.

    Attributes:
        title: its heading.
        text: a sentence that says how to read it.
        alt: what a reader gets who does not see it.
        source: a `data:` URI.
    """

    title: str
    text: str
    alt: str
    source: str


def illustrate(figure: Figure, title: str, text: str, alt: str) -> Illustration:
    """Put a figure into the page. Equal figures give equal bytes."""
    content = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "report", "svg.fonttype": "none"}):
        figure.savefig(content, format="svg", transparent=True, metadata={"Date": None})
    head, _, body = content.getvalue().partition("<defs>")
    svg = f"{head}{_SVG_STYLE}<defs>{body}".replace("#000000", "currentColor")
    return Illustration(title, text, alt, _data_uri("image/svg+xml", svg.encode()))


def picture(image: NDArray[np.uint8]) -> str:
    """A `data:` URI of an image, dark on light."""
    content = io.BytesIO()
    Image.fromarray(255 - np.asarray(image)).save(content, "PNG")
    return _data_uri("image/png", content.getvalue())


def confusion_cells(matrix: NDArray[np.int64]) -> list[list[dict[str, float]]]:
    """The counts of a confusion matrix, with their share of the row; none for many classes."""
    if len(matrix) > _MOST_CLASSES:
        return []
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    return [
        [{"count": int(count), "share": float(share)} for count, share in zip(*row, strict=True)]
        for row in zip(matrix, shares, strict=True)
    ]


def write_page(path: Path, values: Mapping[str, Any]) -> None:
    """Write the page.

    Args:
        path: the HTML file.
        values: what page.html.jinja names.
    """
    write_text(path, render("pipeline.evaluation", "page.html.jinja", values))


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
