"""Write the numbers and the picture of a lesson into its page."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.config.paths import REPOSITORY
from pipeline.evaluation.drawing import drawing, save_figure
from pipeline.lessons.catalogue import FOLDER, Lesson
from pipeline.lessons.runs import Found
from pipeline.system.errors import UserError
from pipeline.system.files import write_text
from pipeline.system.processor import cpu, usable_cores

RESULTS = FOLDER / "results.json"  # the numbers of all pages
BEGIN, END = "<!-- results: written by make learn -->", "<!-- end of results -->"
_FEW = 12  # lines that a picture can have


def write_page(lesson: Lesson, found: Sequence[Found]) -> Path:
    """Write the results of a lesson into results.json, its page and its picture.

    Returns:
        The path of the picture below the repository.

    Raises:
        UserError: when the page has no place for the results.
    """
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    results[lesson.name] = {
        "rows": [_row(each) for each in found],
        "machine": f"{usable_cores()} cores of {cpu()}",
    }
    write_text(RESULTS, json.dumps(dict(sorted(results.items())), indent=1) + "\n")
    write_text(lesson.page, with_results(lesson, lesson.page.read_text("utf-8"), results))
    with drawing():
        save_figure(draw_lesson(lesson, found), lesson.picture)
    return lesson.picture.relative_to(REPOSITORY)


def with_results(lesson: Lesson, page: str, results: dict[str, Any]) -> str:
    """The text of a page with the results of its lesson between the marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"{lesson.page} has no {BEGIN} and {END}")
    result, keys = results[lesson.name], ", ".join(lesson.compared)
    lines = [
        f"| {keys} | trials | best validation accuracy | validation loss | with |",
        "|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        numbers = (
            f"{row['accuracy']:.2%} | {row['loss']:.4f}"
            if "accuracy" in row
            else "all failed: the loss became infinite | "
        )
        lines.append(f"| {row['value']} | {row['trials']} | {numbers} | {row['rest']} |")
    picture = f"![{lesson.question}]({lesson.picture.name})"
    block = "\n".join([*lines, "", picture, "", f"Measured on {result['machine']}."])
    return f"{before}{BEGIN}\n{block}\n{END}{after}"


def draw_lesson(lesson: Lesson, found: Sequence[Found]) -> Figure:
    """Loss and accuracy by epoch, and the best accuracy; a colour for each compared value."""
    figure = Figure(figsize=(14, 4), layout="constrained")
    losses, accuracies, best = figure.subplots(1, 3)
    panels = {"loss": losses, "accuracy": accuracies}
    shown = [each for each in found if each.history][:_FEW]
    compared = ", ".join(key.rpartition(".")[2] for key in lesson.compared)
    for number, each in enumerate(shown):
        epochs = [row["epoch"] for row in each.history]
        colour = f"C{number % 10}"
        for metric, axis in panels.items():
            axis.plot(epochs, [row[metric] for row in each.history], "--", color=colour, alpha=0.6)
            values = [row[f"val_{metric}"] for row in each.history]
            axis.plot(epochs, values, ".-", color=colour, label=f"{compared}: {each.value}")
        best.plot(each.value, each.best["val_accuracy"], "o", color=colour, markersize=9)
    for metric, axis in panels.items():
        axis.set(title=f"{metric.capitalize()}: validation solid, training dashed", xlabel="epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    best.set(title="Best validation accuracy", xlabel=compared)
    best.margins(0.15)
    _widen(best)
    for axis in figure.axes:
        axis.grid(alpha=0.3)
    _limit(losses, [row["val_loss"] for each in shown for row in each.history])
    accuracies.legend(loc="lower right", fontsize=9)
    return figure


def _widen(axis: Any) -> None:
    """Show at least one percentage point, so that a small difference looks small."""
    low, high = axis.get_ylim()
    missing = max(0.01 - (high - low), 0) / 2
    axis.set_ylim(low - missing, high + missing)


def _limit(axis: Any, losses: Sequence[float]) -> None:
    """Keep one very high loss from flattening all other curves."""
    middle = sorted(losses)[len(losses) // 2]
    axis.set_ylim(0, min(max(losses), 6 * middle) * 1.05)


def _row(found: Found) -> dict[str, Any]:
    row: dict[str, Any] = {"value": found.value, "trials": found.trials, "rest": found.rest}
    if found.history:
        row |= {"accuracy": found.best["val_accuracy"], "loss": found.best["val_loss"]}
    return row
