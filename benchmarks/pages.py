"""The pages of docs/benchmarks: each has the title and the text of a benchmark's docstring."""

import re
import shlex
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.charts import CHARTS, chart_of, draw, page_of
from pipeline.system.files import write_text


def write_page(name: str, doc: str | None, table: Sequence[str], note: str) -> None:
    """Print a page, write it, and draw its chart.

    Args:
        name: the name of the page, without `.md`.
        doc: the docstring of the benchmark; see `head`.
        table: the lines of a Markdown table.
        note: the machine and the versions.
    """
    picture = f"![{str(CHARTS[name].__doc__).rstrip('.')}]({chart_of(name).name})"
    text = "\n".join([head(doc), picture, "", *table, "", f"{note}. Command: `{command()}`.", ""])
    print(text)
    write_text(page_of(name), text)
    draw(name)


def spread(values: Sequence[float], decimals: int) -> str:
    """The median; with several values, also the least and the most."""
    numbers = (statistics.median(values), min(values), max(values))
    median, least, most = (f"{number:.{decimals}f}" for number in numbers)
    return f"{median} ({least} to {most})" if len(values) > 1 else median


def command() -> str:
    """The command that runs this benchmark, as it was given."""
    return shlex.join(["python", "-m", f"benchmarks.{Path(sys.argv[0]).stem}", *sys.argv[1:]])


def head(doc: str | None) -> str:
    """The title and the text of a page, from a docstring of three paragraphs.

    They are the title, which ends at a colon or a full stop; the examples, which are left out; and
    the text, whose last sentence says which page is written, and is left out too.
    """
    title, _, text = (doc or "").split("\n\n")
    title = title.partition(":")[0].rstrip(".")
    text, *_ = re.split(r"\sWrites\s", text)
    return f"# {title}\n\n{text.strip()}\n"
