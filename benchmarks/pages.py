"""The pages of docs/benchmarks: each has the title and the text of a benchmark's docstring."""

import re
from collections.abc import Sequence

from pipeline.config.paths import REPOSITORY
from pipeline.system.files import write_text

FOLDER = REPOSITORY / "docs" / "benchmarks"


def write_page(name: str, doc: str | None, table: Sequence[str], note: str) -> None:
    """Print a page, and write it.

    Args:
        name: the name of the page, without `.md`.
        doc: the docstring of the benchmark; see `head`.
        table: the lines of a Markdown table.
        note: the machine and the versions.
    """
    text = "\n".join([head(doc), *table, "", f"{note}.", ""])
    print(text)
    write_text(FOLDER / f"{name}.md", text)


def head(doc: str | None) -> str:
    """The title and the text of a page, from a docstring of three paragraphs.

    They are the title, which ends at a colon or a full stop; the examples, which are left out; and
    the text, whose last sentence says which page is written, and is left out too.
    """
    title, _, text = (doc or "").split("\n\n")
    title = title.partition(":")[0].rstrip(".")
    text, *_ = re.split(r"\sWrites\s", text)
    return f"# {title}\n\n{text.strip()}\n"
