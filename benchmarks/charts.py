"""The charts of docs/benchmarks: each shows the numbers in the table of its page.

Examples:
    python -m benchmarks.charts     # draw all charts again, from the pages as they are
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.config.paths import REPOSITORY
from pipeline.evaluation.drawing import drawing, save_figure

FOLDER = REPOSITORY / "docs" / "benchmarks"
OURS, THEIRS = "C0", "C7"  # blue and grey
STAGES = {"prepare": 1, "train": 3, "evaluate": 5}  # the columns of the page on scale
TRIALS = re.compile(r"after (\d+) trials")  # in the heads of the page on samplers
Rows = list[list[str]]  # the cells of a table, the heads first


@dataclass(frozen=True)
class Measured:
    """The number in a cell of a table, with its spread: `3.1 (2.7 to 3.4)` or `99.02 ± 0.05 %`.

    Attributes:
        text: the number, as it is written.
        value: the number.
        low: the lower end of the spread; the number itself without one.
        high: the upper end.
    """

    text: str
    value: float
    low: float
    high: float


def main() -> None:
    """Draw the charts of all pages."""
    for name in CHARTS:
        draw(name)


def draw(name: str) -> None:
    """Draw the chart of a page, and write it next to the page."""
    with drawing():
        save_figure(CHARTS[name](rows_of(page_of(name).read_text())), chart_of(name))


def page_of(name: str) -> Path:
    """The page of a name."""
    return FOLDER / f"{name}.md"


def chart_of(name: str) -> Path:
    """The chart of a page."""
    return FOLDER / f"{name}.png"


def rows_of(page: str) -> Rows:
    """The cells of the table in a page. Names of commands are without their backticks."""
    lines = [line for line in page.splitlines() if line.startswith("|")]
    rows = [[cell.strip().replace("`", "") for cell in line.split("|")[1:-1]] for line in lines]
    return [rows[0], *rows[2:]]


def measured(cell: str) -> Measured:
    """The number in a cell, and its spread."""
    texts = re.findall(r"\d[\d,]*(?:\.\d+)?", cell)
    value, *spread = (float(text.replace(",", "")) for text in texts)
    low, high = value, value
    if "±" in cell:
        low, high = value - spread[0], value + spread[0]
    elif " to " in cell:
        low, high = spread
    return Measured(texts[0], value, low, high)


def errors(numbers: Sequence[Measured]) -> tuple[list[float], list[float]]:
    """The lengths of the two error bars of several numbers, as Matplotlib takes them."""
    return [each.value - each.low for each in numbers], [each.high - each.value for each in numbers]


def draw_fit(rows: Rows) -> Figure:
    """Test accuracy against the seconds of the training."""
    figure = Figure(figsize=(7.5, 4), layout="constrained")
    axis = figure.subplots()
    for number, (name, _, seconds, _, accuracy, *_) in enumerate(rows[1:]):
        time, right = measured(seconds), measured(accuracy)
        colour = OURS if name.startswith("experiment=") else THEIRS
        axis.errorbar(time.value, right.value, xerr=errors([time]), fmt="o", color=colour)
        text = f"{name}\n{time.text} s, {right.text} %"
        offset = (0.0, 8.0) if number % 2 else (0.0, -34.0)  # neighbours must not overlap
        _annotate(axis, text, (time.value, right.value), offset, ha="center")
    axis.axhline(99, color="black", linestyle=":")
    axis.set(xscale="log", xlabel="seconds of training (median, least to most)")
    axis.set_xticks([3, 10, 30, 100, 300], ["3", "10", "30", "100", "300"])
    axis.minorticks_off()
    axis.set_ylabel("mean test accuracy, %")
    axis.margins(x=0.2, y=0.4)
    axis.grid(alpha=0.3)
    return figure


def draw_pipeline(rows: Rows) -> Figure:
    """The seconds of each measurement and of its reference."""
    figure = Figure(figsize=(9, 1.35 * len(rows[1:])), layout="constrained")
    axes = figure.subplots(len(rows[1:]), 1)
    for axis, (ours, seconds, theirs, beside, *_) in zip(axes, rows[1:], strict=True):
        _bars(axis, [ours, theirs], [measured(seconds), measured(beside)], [OURS, THEIRS])
        axis.set_xlabel("seconds")
    return figure


def draw_searches(rows: Rows) -> Figure:
    """Trials an hour, and the minutes to the accuracy that all reached."""
    heads, *rows = rows
    columns = [heads.index("trials an hour"), heads.index("minutes to what all reached")]
    figure = Figure(figsize=(9, 2.4), layout="constrained")
    names = [row[0] for row in rows]
    for axis, column in zip(figure.subplots(1, 2, sharey=True), columns, strict=True):
        _bars(axis, names, [measured(row[column]) for row in rows], [OURS, THEIRS, THEIRS])
        axis.set_xlabel(heads[column])
    return figure


def draw_scale(rows: Rows) -> Figure:
    """Seconds and memory of each stage against the number of images."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    images = [measured(row[0]).value for row in rows[1:]]
    for stage, column in STAGES.items():
        left.plot(images, [measured(row[column]).value for row in rows[1:]], "o-", label=stage)
        memory = [measured(row[column + 1]).value for row in rows[1:]]
        right.plot(images, memory, "o-", label=stage)
    share = [count / images[-1] for count in images]
    most = max(measured(cell).value for cell in rows[-1][1::2])
    left.plot(images, [most * each for each in share], "k:", label="in proportion to the images")
    left.set(yscale="log", ylabel="seconds")
    left.yaxis.set_major_formatter("{x:g}")
    right.set(ylabel="memory of the process, MB", ylim=(0, None))
    for axis in (left, right):
        axis.set(xscale="log", xlabel="training images")
        axis.set_xticks(images, [f"{count:,.0f}" for count in images])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    # Outside, because the lines fill both charts.
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def draw_accuracies(rows: Rows) -> Figure:
    """The accuracy of each configuration."""
    heads, *rows = rows
    figure = Figure(figsize=(7.5, 0.45 * len(rows) + 0.8), layout="constrained")
    axis = figure.subplots()
    for place, row in enumerate(rows):
        accuracy = measured(row[1])
        spread = errors([accuracy])
        axis.errorbar(accuracy.value, place, xerr=spread, fmt="o", capsize=4, color=OURS)
        _annotate(axis, f"{accuracy.text} %", (accuracy.value, place), (0, 7), ha="center")
    axis.set_yticks(range(len(rows)), [row[0] for row in rows])
    axis.set(xlabel=f"{heads[1]}, %", ylim=(len(rows) - 0.5, -0.7))
    axis.margins(x=0.1)
    axis.grid(alpha=0.3)
    return figure


def draw_samplers(rows: Rows) -> Figure:
    """The best loss of each sampler after some numbers of trials."""
    heads, *rows = rows
    counts = [int(found[1]) for head in heads if (found := TRIALS.search(head))]
    figure = Figure(figsize=(7.5, 3.6), layout="constrained")
    axis = figure.subplots()
    for number, row in enumerate(rows):
        losses = [measured(cell) for cell in row[1:]]
        places = [count + 0.5 * (number - 1) for count in counts]  # the spreads do not overlap
        axis.errorbar(
            places,
            [loss.value for loss in losses],
            yerr=errors(losses),
            fmt="o-",
            capsize=4,
            label=row[0],
        )
    axis.set(xlabel="trials", ylabel="best validation loss (median, least to most)")
    axis.set_xticks(counts)
    axis.grid(alpha=0.3)
    axis.legend()
    return figure


def _bars(
    axis: Axes, names: Sequence[str], found: Sequence[Measured], colours: Sequence[str]
) -> None:
    """Draw horizontal bars from the top down, each with its number."""
    for place, (number, colour) in enumerate(zip(found, colours, strict=True)):
        spread = errors([number]) if number.low < number.high else None
        axis.barh(place, number.value, xerr=spread, color=colour, capsize=4)
        _annotate(axis, number.text, (number.high, place), (6, 0), va="center")
    axis.set_yticks(range(len(names)), list(names))
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.margins(x=0.15)
    axis.spines[["top", "right"]].set_visible(False)


def _annotate(
    axis: Axes, text: str, point: tuple[float, float], offset: tuple[float, float], **options: Any
) -> None:
    """Write a text at some distance, in points of type, from a point of the chart."""
    axis.annotate(text, point, xytext=offset, textcoords="offset points", **options)


CHARTS: dict[str, Callable[[Rows], Figure]] = {
    "fit": draw_fit,
    "pipeline": draw_pipeline,
    "sweep": draw_searches,
    "tuners": draw_searches,
    "scale": draw_scale,
    "fashion_mnist": draw_accuracies,
    "samplers": draw_samplers,
}

if __name__ == "__main__":
    main()
