"""The table of a comparison, as text that fits into a width."""

import math
from collections.abc import Sequence

from pipeline.comparison.result import Result, differing_keys

_NAME_WIDTH = 24
_VALUE_WIDTH = 20
_GAP = "  "
_METRICS = ("val_accuracy", "test_accuracy")
_LOSSES = ("val_loss", "test_loss")


def make_table(results: Sequence[Result], width: int) -> str:
    """A row for each result: name, metrics, and the settings in which the results differ.

    Settings that do not fit into the width follow below the table. Losses fill the room that is
    left. Long texts end in `…`.

    Args:
        results: what to compare.
        width: columns of the terminal; 60 or more.
    """
    columns = [_column("name", [result.name for result in results], _NAME_WIDTH)]
    columns += [_metric_column(name, results) for name in _METRICS]
    if any(result.state for result in results):
        columns.append(_column("state", [result.state or "-" for result in results]))
    rest = []
    for key in differing_keys(results):
        column = _column(key, [result.settings.get(key, "-") for result in results])
        if _width([*columns, column]) <= width:
            columns.append(column)
        else:
            rest.append(key)
    losses = [_metric_column(name, results) for name in _LOSSES]
    if not rest and _width([*columns, *losses]) <= width:
        columns[3:3] = losses
    lines = [_GAP.join(cells).rstrip() for cells in zip(*columns, strict=True)]
    if rest:
        lines += ["", "They also differ in, from top to bottom:"]
        lines += [shorten(f"  {key}: {_values(key, results)}", width) for key in rest]
    return "\n".join(lines)


def make_markdown(results: Sequence[Result]) -> str:
    """The table in Markdown, for a pull request: all settings in which the results differ."""
    heads = ["name", *_METRICS, *_LOSSES, *differing_keys(results)]
    lines = [_row(heads), _row(["---", *["---:"] * (len(heads) - 1)])]
    for result in results:
        numbers = [result.metric(name) for name in (*_METRICS, *_LOSSES)]
        cells = [f"{value:.4f}" if not math.isnan(value) else result.state for value in numbers]
        settings = [result.settings.get(key, "") for key in heads[1 + len(numbers) :]]
        lines.append(_row([result.name, *cells, *settings]))
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def shorten(text: str, width: int) -> str:
    """A text of at most `width` characters on one line."""
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _values(key: str, results: Sequence[Result]) -> str:
    return ", ".join(shorten(result.settings.get(key, "-"), _VALUE_WIDTH) for result in results)


def _column(head: str, texts: list[str], width: int = _VALUE_WIDTH) -> list[str]:
    cells = [head, *(shorten(text, width) for text in texts)]
    return [cell.ljust(max(map(len, cells))) for cell in cells]


def _metric_column(name: str, results: Sequence[Result]) -> list[str]:
    values = [result.metric(name) for result in results]
    cells = [name, *("-" if math.isnan(value) else f"{value:.4f}" for value in values)]
    return [cell.rjust(max(map(len, cells))) for cell in cells]


def _width(columns: list[list[str]]) -> int:
    return sum(len(column[0]) for column in columns) + len(_GAP) * (len(columns) - 1)
