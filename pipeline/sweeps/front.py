"""The picture of the Pareto front of a sweep: the best trial for each size of the network."""

import optuna
from matplotlib.figure import Figure

from pipeline.sweeps.axes import cut_outliers, label_log_ticks, new_figure
from pipeline.sweeps.trials import (
    is_maximized,
    pareto_front,
    sized_trials,
    value_of,
    weights_of,
)


def draw_front(study: optuna.Study, metric: str) -> Figure:
    """Plot the metric over the number of weights; the front as a line with the trials' numbers.

    Args:
        study: a study with complete trials that have a number of weights.
        metric: what the values are.
    """
    trials = sized_trials(study)
    values = [value_of(trial) for trial in trials]
    figure, axis = new_figure()
    axis.plot([weights_of(trial) for trial in trials], values, "o", alpha=0.4, label="a trial")
    front = [(trial.number, weights_of(trial), value_of(trial)) for trial in pareto_front(study)]
    label = "better than every smaller network (the number of the trial)"
    _, sizes, best = zip(*front, strict=True)
    axis.plot(sizes, best, "o-", drawstyle="steps-post", label=label)
    above = 5 if is_maximized(study) else -12
    for number, size, value in front:
        axis.annotate(str(number), (size, value), xytext=(5, above), textcoords="offset points")
    axis.margins(y=0.1)
    axis.set(xscale="log", xlabel="weights and biases (log scale)", ylabel=metric)
    label_log_ticks(axis.xaxis)
    figure.legend(loc="outside lower center", ncols=2)
    outside = cut_outliers(axis, values)
    figure.suptitle(f"{len(trials)} complete trials by the size of their networks{outside}")
    return figure
