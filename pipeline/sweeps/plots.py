"""The plots of a sweep: the metric over the trials, over the parameters, and over the weights."""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from textwrap import fill
from typing import Any

import optuna
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.importance import FanovaImportanceEvaluator
from optuna.trial import FrozenTrial

from pipeline.config.overrides import to_grammar
from pipeline.config.schema import Sweep
from pipeline.evaluation.drawing import drawing, save_figure
from pipeline.sweeps.axes import cut_outliers, label_log_ticks, new_figure
from pipeline.sweeps.front import draw_front
from pipeline.sweeps.space import Parameter, Space
from pipeline.sweeps.trials import (
    best_trial,
    complete_trials,
    finished_trials,
    is_maximized,
    sized_trials,
    value_of,
    weights_of,
)

_METRICS = {
    "val_accuracy": "validation accuracy (higher is better)",
    "val_loss": "validation loss (lower is better)",
    "robust_accuracy": "accuracy on corrupted validation\nimages (higher is better)",
}
# Fewer trials say nothing reliable about which parameter matters: at least this many, and at least
# this many for each parameter.
_LEAST, _LEAST_EACH = 20, 5
_SLICES_IN_A_ROW = 3
_MOST_OF_CURVE = 20  # values of a parameter; with more, each value has hardly a trial


def draw_plots(folder: Path, study: optuna.Study, sweep: Sweep, space: Space) -> None:
    """Write each plot for which there are enough complete trials: at least one."""
    complete = complete_trials(study)
    compared = _compared(complete, space)
    metric = _METRICS[sweep.metric]
    draw: dict[str, Callable[[], Figure]] = {"history": lambda: _history(study, metric)}
    if any(trial.params for trial in complete):
        draw["slices"] = lambda: _slices(study, space, metric)
    if len(compared) > 1 and len(complete) >= max(_LEAST, _LEAST_EACH * len(compared)):
        draw["importances"] = lambda: _importances(study, compared, space)
    if len({weights_of(trial) for trial in sized_trials(study)}) > 1:
        draw["pareto"] = lambda: draw_front(study, metric)
    for parameter in space.searched:
        few = isinstance(parameter.values, range) and len(parameter.values) <= _MOST_OF_CURVE
        if few and len(_tried(complete, parameter)) > 1:
            file = re.sub(r"[^\w.=-]+", "_", parameter.name)[:100]
            draw[f"curve_{file}"] = partial(_curve, study, parameter, metric)
    with drawing():
        for name, make in draw.items():
            figure = make()
            figure.suptitle(fill(f"{sweep.name}: {figure.get_suptitle()}", 80))
            save_figure(figure, folder / f"{name}.png")


def _tried(trials: Sequence[FrozenTrial], parameter: Parameter) -> set[Any]:
    return {t.params[parameter.name] for t in trials if parameter.name in t.params}


def _compared(trials: Sequence[FrozenTrial], space: Space) -> list[Parameter]:
    """The parameters that can be compared: every trial has them, and their values differ."""
    return [
        parameter
        for parameter in space.searched
        if all(parameter.name in trial.params for trial in trials)
        and len(_tried(trials, parameter)) > 1
    ]


def _history(study: optuna.Study, metric: str) -> Figure:
    """Plot the metric over the trials. The title counts those that have no final value."""
    trials, best = complete_trials(study), best_trial(study)
    assert best is not None
    numbers, values = [trial.number for trial in trials], [value_of(trial) for trial in trials]
    best_so_far = list(accumulate(values, max if is_maximized(study) else min))
    figure, axis = new_figure()
    axis.plot(numbers, values, "o", label="a trial")
    axis.plot(numbers, best_so_far, drawstyle="steps-post", label="the best so far")
    _ring(axis, best.number, value_of(best))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set(xlabel="number of the trial", ylabel=metric)
    figure.legend(loc="outside lower center", ncols=2)
    count = Counter(trial.state.name for trial in finished_trials(study))
    others = [f"{count[s]} {w}" for s, w in (("PRUNED", "pruned"), ("FAIL", "failed")) if count[s]]
    left_out = f"; not drawn: {', '.join(others)}" if others else ""
    outside = cut_outliers(axis, values)
    figure.suptitle(f"{_complete(trials)}; {_ringed(best)}{left_out}{outside}")
    return figure


def _slices(study: optuna.Study, space: Space, metric: str) -> Figure:
    """Plot the metric over each parameter: a dot for each complete trial, a ring for the best."""
    trials, best = complete_trials(study), best_trial(study)
    assert best is not None
    shown = [parameter for parameter in space.searched if _tried(trials, parameter)]
    columns = min(len(shown), _SLICES_IN_A_ROW)
    rows = math.ceil(len(shown) / columns)
    figure = Figure(figsize=(max(8, 3.6 * columns), 3.4 * rows + 0.8), layout="constrained")
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for parameter, axis in zip(shown, axes.flat, strict=False):
        place = _places(axis, parameter)
        has_it = [trial for trial in trials if parameter.name in trial.params]
        dots = axis.scatter(
            [place(trial.params[parameter.name]) for trial in has_it],
            [value_of(trial) for trial in has_it],
            c=[trial.number for trial in has_it],
            vmin=0,
            vmax=max(trials[-1].number, 1),
            zorder=2,
        )
        if best in has_it:
            _ring(axis, place(best.params[parameter.name]), value_of(best))
        label_log_ticks(axis.xaxis)
        axis.grid(alpha=0.3)
        scale = " (log scale)" if parameter.is_logarithmic else ""
        axis.set_xlabel(_label(parameter, scale))
    for axis in axes.flat[len(shown) :]:
        axis.remove()
    figure.supylabel(metric, fontsize="medium")
    bar = figure.colorbar(dots, ax=figure.axes, label="number of the trial")
    bar.ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    outside = cut_outliers(axes[0, 0], [value_of(trial) for trial in trials])
    figure.suptitle(f"a dot for each of {_complete(trials)}; {_ringed(best)}{outside}")
    return figure


def _places(axis: Axes, parameter: Parameter) -> Callable[[Any], float]:
    """Prepare the horizontal axis for a parameter. Return where it shows a value."""
    if not parameter.is_number:
        choices = list(parameter.values)
        labels = [fill(_text(choice), 12) for choice in choices]
        axis.set_xticks(range(len(choices)), labels, rotation=0 if len(choices) < 5 else 30)
        axis.set_xlim(-0.5, len(choices) - 0.5)
        return choices.index
    if parameter.is_logarithmic:
        axis.set_xscale("log")
    elif isinstance(parameter.values, range):
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    return float


def _importances(study: optuna.Study, parameters: Sequence[Parameter], space: Space) -> Figure:
    """Draw how much each parameter explains (functional ANOVA; Hutter et al., 2014)."""
    trials = complete_trials(study)
    evaluator = FanovaImportanceEvaluator(seed=0)  # of its random forest
    names = {parameter.name: _label(parameter) for parameter in parameters}
    # Not by get_param_importances, which scales the shares so that their sum is 1.
    shares = evaluator.evaluate(study, params=list(names), target=value_of)
    figure, axis = new_figure()
    bars = axis.barh([names[name] for name in shares], list(shares.values()))
    axis.bar_label(bars, fmt="%.2f", padding=3)
    axis.margins(x=0.1)
    axis.invert_yaxis()
    axis.set_xlabel("share of the differences between trials that the parameter explains")
    others = {p.target for p in space.searched if p.condition and p not in parameters}
    left_out = f"; not every trial has {', '.join(sorted(others))}" if others else ""
    figure.suptitle(f"which parameters matter, by {_complete(trials)}{left_out}")
    return figure


def _curve(study: optuna.Study, parameter: Parameter, metric: str) -> Figure:
    """Plot the metric over an integer parameter: each trial, and the best one at each value."""
    name = parameter.name
    trials = [trial for trial in complete_trials(study) if name in trial.params]
    points = [(trial.params[name], value_of(trial)) for trial in trials]
    better = max if is_maximized(study) else min
    best = {x: better(v for at, v in points if at == x) for x in sorted({x for x, _ in points})}
    figure, axis = new_figure()
    axis.plot([x for x, _ in points], [y for _, y in points], "o", alpha=0.4, label="a trial")
    axis.plot(list(best), list(best.values()), "o-", label="the best at each value")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set(xlabel=_label(parameter), ylabel=metric)
    figure.legend(loc="outside lower center", ncols=2)
    title = f"the best at each value, of {_complete(trials)}"
    figure.suptitle(f"{title}{cut_outliers(axis, [y for _, y in points])}")
    return figure


def _complete(trials: Sequence[FrozenTrial]) -> str:
    return f"{len(trials)} complete trial{'s' if len(trials) != 1 else ''}"


def _ring(axis: Axes, x: float, y: float) -> None:
    axis.scatter(x, y, s=130, facecolors="none", edgecolors="C3", linewidths=2, zorder=3)


def _ringed(best: FrozenTrial) -> str:
    return f"the ring: the best, trial {best.number}"


def _label(parameter: Parameter, scale: str = "") -> str:
    """A parameter as a label: its key, the scale of the axis, and the condition of the key."""
    name = fill(parameter.target, 30) + scale
    if parameter.condition is None:
        return name
    key, values = parameter.condition
    condition = f"if {key} is {' or '.join(map(_text, values))}"
    return f"{name}\n{fill(condition, 30)}"


def _text(value: Any) -> str:
    """A value as configurations have it, without quotes."""
    return value if isinstance(value, str) else to_grammar(value)
