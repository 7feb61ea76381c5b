"""The Pareto front of a sweep: the best trial for each size of the network."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from pipeline.sweeps.axes import cut_outliers, label_log_ticks, new_figure


@dataclass(frozen=True)
class Point:
    """A complete trial.

    Attributes:
        number: its number.
        weights: how many weights and biases its network has.
        value: its metric.
    """

    number: int
    weights: int
    value: float


def pareto_front(points: Sequence[Point], maximize: bool) -> list[Point]:
    """The points that no smaller or equal network beats or equals, smallest network first.

    Args:
        points: the trials.
        maximize: whether a larger value is better.
    """
    sign = 1 if maximize else -1
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.weights, -sign * p.value, p.number)):
        if not front or sign * point.value > sign * front[-1].value:
            front.append(point)
    return front


def draw_front(points: Sequence[Point], maximize: bool, metric: str) -> Figure:
    """Plot the metric over the number of weights; the front as a line with the trials' numbers.

    Args:
        points: the trials.
        maximize: whether a larger value is better.
        metric: what the values are.
    """
    figure, axis = new_figure()
    axis.plot(
        [p.weights for p in points], [p.value for p in points], "o", alpha=0.4, label="a trial"
    )
    front = pareto_front(points, maximize)
    label = "better than every smaller network (the number of the trial)"
    sizes, values = [p.weights for p in front], [p.value for p in front]
    axis.plot(sizes, values, "o-", drawstyle="steps-post", label=label)
    for point in front:
        axis.annotate(
            str(point.number),
            (point.weights, point.value),
            xytext=(5, 5 if maximize else -12),
            textcoords="offset points",
        )
    axis.margins(y=0.1)
    axis.set(xscale="log", xlabel="weights and biases (log scale)", ylabel=metric)
    label_log_ticks(axis.xaxis)
    figure.legend(loc="outside lower center", ncols=2)
    outside = cut_outliers(axis, [point.value for point in points])
    figure.suptitle(f"{len(points)} complete trials by the size of their networks{outside}")
    return figure
