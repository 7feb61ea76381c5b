"""The training curves of a comparison, drawn over each other."""

import math
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.comparison.result import Result
from pipeline.comparison.table import shorten
from pipeline.evaluation.drawing import drawing, save_figure

_PANELS = {"val_loss": "validation loss", "val_accuracy": "validation accuracy"}
_LEGEND_WIDTH = 40
_LEGEND_COLUMNS = 3


@drawing()
def draw_curves(results: Sequence[Result], path: Path) -> None:
    """Draw the loss and the accuracy on validation images by epoch, a line for each result.

    Args:
        results: what to compare; those without a history are left out.
        path: the PNG file to write.
    """
    shown = [result for result in results if result.history]
    rows = math.ceil(len(shown) / _LEGEND_COLUMNS)
    figure = Figure(figsize=(11, 4.5 + 0.22 * rows), layout="constrained")
    lines = []
    for axis, (metric, title) in zip(figure.subplots(1, 2), _PANELS.items(), strict=True):
        # Lines that cover each other, as those of equal trainings, are told apart by their dashes.
        styles = cycle(["-", "--", "-.", ":"])
        lines = [
            axis.plot(
                [row["epoch"] for row in result.history],
                [row[metric] for row in result.history],
                linestyle=style,
                marker=".",
            )[0]
            for result, style in zip(shown, styles, strict=False)
        ]
        axis.set(title=title, xlabel="epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
    # A space comes first, because matplotlib leaves out names that begin with an underscore.
    names = [f" {shorten(result.name, _LEGEND_WIDTH)}" for result in shown]
    figure.legend(lines, names, loc="outside lower center", ncols=_LEGEND_COLUMNS)
    save_figure(figure, path)
