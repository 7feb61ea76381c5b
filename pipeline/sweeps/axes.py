"""The figure and the axes of a sweep's plots: ranges without outliers, and plain numbers."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

_LEAST = 4  # values, of which outliers can be told


def new_figure() -> tuple[Figure, Axes]:
    """A figure with one pair of axes and a grid."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axis = figure.subplots()
    axis.grid(alpha=0.3)
    return figure, axis


def bulk(values: Sequence[float]) -> tuple[float, float]:
    """The range of values without outliers, as a box plot draws its whiskers (Tukey, 1977)."""
    low, high = np.percentile(values, [25, 75])
    reach = 1.5 * (high - low)
    inside = [value for value in values if low - reach <= value <= high + reach]
    return min(inside), max(inside)


def cut_outliers(axis: Axes, values: Sequence[float]) -> str:
    """Let the bulk of the values set a vertical axis, if all of them need ten times its space.

    Returns:
        What to add to the title: how many values lie outside, such as a loss that has diverged.
    """
    low, high = bulk(values)
    # With equal values in the bulk, there is no space to draw it in.
    if len(values) < _LEAST or low == high or max(values) - min(values) <= 10 * (high - low):
        return ""
    margin = 0.1 * (high - low)
    axis.set_ylim(low - margin, high + margin)
    return f"; far outside: {sum(not low <= value <= high for value in values)}"


def label_log_ticks(axis: Axis) -> None:
    """Label a logarithmic axis with few plain numbers, which matplotlib writes as mathematics."""
    if axis.get_scale() != "log":
        return
    low, high = axis.get_view_interval()
    if high < 5 * low:
        axis.set_major_locator(MaxNLocator(4))
    else:
        subs = (1, 2, 5) if high < 10 * low else (1, 3) if high < 100 * low else (1,)
        axis.set_major_locator(LogLocator(subs=subs))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}" if v >= 1000 else f"{v:g}"))
