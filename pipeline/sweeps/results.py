"""The results of a sweep: a table of its trials, plots, and the spread of replicates."""

import math
import re
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib as mpl
import numpy as np
import optuna
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from optuna.trial import FrozenTrial
from optuna.visualization import matplotlib as plots
from scipy.stats import t

from pipeline.config.presets import PRESET
from pipeline.config.schema import Sweep
from pipeline.evaluation.drawing import drawing, save_figure
from pipeline.sweeps.front import Point, draw_front
from pipeline.sweeps.progress import trial_line
from pipeline.sweeps.space import Space
from pipeline.sweeps.trials import (
    FAILURE,
    OVERRIDES,
    RUN,
    TAKEN_OVER,
    WEIGHTS,
    best_trial,
    complete_trials,
    finished_trials,
    replicates_by_mean,
)
from pipeline.system.files import write_csv, write_text

_NAMES = {
    "val_accuracy": "validation accuracy",
    "val_loss": "validation loss",
    "robust_accuracy": "accuracy on corrupted validation images",
}


# Fewer trials say nothing reliable about which parameter matters: at least this many, and at least
# this many for each parameter.
_LEAST, _LEAST_EACH = 20, 5
_LEAST_OF_BULK = 4  # values, of which outliers can be told


def write_table(folder: Path, study: optuna.Study, sweep: Sweep, space: Space) -> None:
    """Write trials.csv: a row for each trial that has ended."""
    names = [parameter.name for parameter in space.searched]
    if rows := [_row(trial, sweep, names) for trial in finished_trials(study)]:
        write_csv(folder / "trials.csv", rows)


def write_results(folder: Path, study: optuna.Study, sweep: Sweep, space: Space) -> None:
    """Write the table. Also write spread.txt for replicates, else each plot with enough trials."""
    write_table(folder, study, sweep, space)
    complete = complete_trials(study)
    if sweep.replicates and complete:
        write_text(folder / "spread.txt", spread(study) + "\n")
    elif complete:
        _draw_all(folder, study, complete, sweep, space)


def spread(study: optuna.Study) -> str:
    """The spread of replicates: a line for each preset if there are several, best mean first."""
    groups = replicates_by_mean(study)
    if len(groups) == 1:
        return spread_of(groups[0])
    return "\n".join(f"{trials[0].params[PRESET]}: {spread_of(trials)}" for trials in groups)


def spread_of(trials: Sequence[FrozenTrial]) -> str:
    """Mean and standard deviation of replicates, with a 95 % interval (Student, 1908)."""
    values = np.array([trial.value for trial in trials], float)
    mean = f"mean {values.mean():.4f}"
    if len(values) < 2:
        return f"{mean}, one seed: no standard deviation"
    deviation = values.std(ddof=1)
    half = t.ppf(0.975, len(values) - 1) * deviation / math.sqrt(len(values))
    return (
        f"{mean}, standard deviation {deviation:.4f}, 95 % interval "
        f"{values.mean() - half:.4f} to {values.mean() + half:.4f}, {len(values)} seeds"
    )


def best_trial_tags(study: optuna.Study) -> dict[str, str]:
    """The tags of a sweep's run that describe its best trial."""
    best = best_trial(study)
    if best is None:
        return {}
    overrides = " ".join(best.user_attrs[OVERRIDES])
    value = str(best.value)
    return {"best.trial": str(best.number), "best.value": value, "best.overrides": overrides}


def print_summary(study: optuna.Study, sweep: Sweep, folder: Path) -> None:
    """Print the result of a sweep, and where the details are."""
    best = best_trial(study)
    if best is None:
        print(f"{sweep.name}: no trial is complete")
    elif sweep.replicates:
        several = len(replicates_by_mean(study)) > 1
        separator = "\n" if several else " "
        print(f"{sweep.name}: {sweep.metric}{separator}{spread(study)}")
        if several:
            print(f"to make the one with the best mean a preset: make promote STUDY={sweep.name}")
    else:
        print(f"best is {trial_line(best, sweep.metric)}")
        print(f"table and plots: {folder}; to make it a preset: make promote STUDY={sweep.name}")


def _row(trial: FrozenTrial, sweep: Sweep, names: list[str]) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "state": trial.state.name,
        sweep.metric: trial.value,
        "epochs": trial.last_step,
        "weights": trial.user_attrs.get(WEIGHTS),
        "seconds": round(trial.duration.total_seconds(), 3) if trial.duration else None,
        **{name: trial.params.get(name) for name in names},
        "failure": trial.user_attrs.get(FAILURE),
        **({"taken_over": trial.user_attrs.get(TAKEN_OVER)} if sweep.from_ else {}),
        "run": trial.user_attrs.get(RUN),
    }


def _draw_all(
    folder: Path, study: optuna.Study, complete: list[FrozenTrial], sweep: Sweep, space: Space
) -> None:
    mpl.use("Agg")  # needs no display
    name = _NAMES[sweep.metric]
    values = [float(trial.values[0]) for trial in complete]
    names = [p.name for p in space.searched if any(p.name in t.params for t in complete)]
    # Conditional parameters are not in every trial. To compare parameters, a trial needs them all.
    common = [n for n in names if all(n in t.params for t in complete)]
    varied = [n for n in common if len({t.params[n] for t in complete}) > 1]
    draw: dict[str, Callable[[], Figure]] = {
        "history": lambda: _titled(
            _figure(plots.plot_optimization_history(study, target_name=name), values),
            f"{sweep.name}: {_counts(study)}",
        )
    }
    if names:
        draw["slices"] = lambda: _titled(
            _figure(plots.plot_slice(study, params=names, target_name=name), values),
            f"{sweep.name}: a dot for each of {len(complete)} complete trials; darker: later",
        )
    if len(complete) > 1 and len(varied) > 1:
        draw["parallel"] = lambda: _titled(
            _figure(
                _name_coordinates(
                    plots.plot_parallel_coordinate(study, params=varied, target_name=name),
                    sorted(varied),
                )
            ),
            f"{sweep.name}: a line for each of {len(complete)} complete trials",
        )
    if len(varied) > 1 and len(complete) >= max(_LEAST, _LEAST_EACH * len(varied)):
        draw["importances"] = lambda: _titled(
            _figure(plots.plot_param_importances(study, params=varied, target_name=name)),
            f"{sweep.name}: share of the differences that each explains, {len(complete)} trials",
        )
    points = [
        Point(trial.number, trial.user_attrs[WEIGHTS], float(trial.values[0]))
        for trial in complete
        if WEIGHTS in trial.user_attrs
    ]
    if len({point.weights for point in points}) > 1:
        maximize = sweep.direction == "maximize"
        title = f"{sweep.name}: {len(points)} complete trials by the size of their networks"
        draw["pareto"] = lambda: draw_front(points, maximize, title, name)
    with drawing(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls its own plots experimental
        for file, make in draw.items():
            _save(make(), folder / f"{file}.png")
        whole = [
            p.name
            for p in space.searched
            if isinstance(p.values, range)
            and len({t.params[p.name] for t in complete if p.name in t.params}) > 1
        ]
        for parameter in whole:
            file = re.sub(r"[^\w.=-]+", "_", parameter)[:100]
            _save(_curve(complete, parameter, sweep), folder / f"curve_{file}.png")


def _curve(complete: list[FrozenTrial], name: str, sweep: Sweep) -> Figure:
    """Plot the metric over an integer parameter: each trial, and the best one at each value."""
    points = [(t.params[name], float(t.values[0])) for t in complete if name in t.params]
    choose = max if sweep.direction == "maximize" else min
    best = {x: choose(v for at, v in points if at == x) for x in sorted({x for x, _ in points})}
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axis = figure.subplots()
    axis.plot([x for x, _ in points], [y for _, y in points], "o", alpha=0.4, label="a trial")
    axis.plot(list(best), list(best.values()), "o-", label="the best")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set(xlabel=name, ylabel=_NAMES[sweep.metric], title=f"{sweep.name}: {len(points)} trials")
    axis.legend()
    return figure


def _counts(study: optuna.Study) -> str:
    """How many trials there are, and how many are not drawn, because they have no final value."""
    count = Counter(trial.state.name for trial in finished_trials(study))
    others = [f"{count[s]} {w}" for s, w in (("PRUNED", "pruned"), ("FAIL", "failed")) if count[s]]
    left_out = f"; not drawn: {', '.join(others)}" if others else ""
    return f"{count['COMPLETE']} complete trials{left_out}"


def _titled(figure: Figure, title: str) -> Figure:
    """A figure with one title, in place of Optuna's."""
    for axis in figure.axes:
        for place in ("left", "center", "right"):
            axis.set_title("", loc=place)
    figure.suptitle(title)
    return figure


def bulk(values: Sequence[float]) -> tuple[float, float]:
    """The range of values without outliers, as a box plot draws its whiskers (Tukey, 1977)."""
    low, high = np.percentile(values, [25, 75])
    reach = 1.5 * (high - low)
    inside = [value for value in values if low - reach <= value <= high + reach]
    return min(inside), max(inside)


def _cut_outliers(axis: Axes, values: Sequence[float]) -> None:
    """Let the bulk of the values set the vertical axis, and say how many lie outside."""
    low, high = bulk(values)
    if len(values) < _LEAST_OF_BULK or max(values) - min(values) <= 10 * (high - low):
        return
    margin = 0.1 * (high - low)
    axis.set_ylim(low - margin, high + margin)
    above, below = (sum(v > high for v in values), sum(v < low for v in values))
    for count, word, place in ((above, "above", 0.98), (below, "below", 0.02)):
        if count:
            side = "top" if word == "above" else "bottom"
            text = f"{count} trial{'s' if count > 1 else ''} {word}"
            axis.text(0.5, place, text, transform=axis.transAxes, ha="center", va=side, color="C3")


def _figure(axes: Any, values: Sequence[float] = ()) -> Figure:
    """Resize Optuna's figure, which has one plot or a row of plots, so that long names fit.

    Args:
        axes: of Optuna.
        values: what their vertical axes show. Outliers are cut off.
    """
    row = list(np.ravel(axes))
    for axis in row if len(values) else ():
        _cut_outliers(axis, values)
    figure = row[0].figure
    figure.set_size_inches(max(9, 3 * len(row)), 4.5)
    if len(row) > 1:
        figure.set_layout_engine("constrained")
        # Optuna's colour bar is correct only for the last plot: each plot has its own scale.
        figure.axes[-1].remove()
        for axis in row:
            axis.set_xlabel(fill(axis.get_xlabel(), 24))
            axis.tick_params(axis="x", which="both", labelrotation=45)
    return figure


def _name_coordinates(axis: Any, names: list[str]) -> Any:
    """Label parallel coordinates with the full names, which Optuna shortens."""
    first, *rest = (label.get_text() for label in axis.get_xticklabels())
    assert all(n.startswith(cut.rstrip(".")) for n, cut in zip(names, rest, strict=True))
    labels = [first, *(fill(name, 24) for name in names)]
    axis.set_xticks(axis.get_xticks(), labels, rotation=30, ha="right")
    return axis


def _label_log_ticks(axis: Axis) -> None:
    """Label powers of ten as plain numbers, which matplotlib writes as mathematics."""
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    low, high = axis.get_view_interval()
    powers = sum(low <= tick <= high for tick in axis.get_majorticklocs())
    axis.set_major_formatter(plain)
    axis.set_minor_formatter(NullFormatter() if powers > 1 else plain)


def _save(figure: Figure, path: Path) -> None:
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_scale() == "log":
                _label_log_ticks(axis)
    save_figure(figure, path, bbox_inches="tight")
    pyplot.close(figure)  # Optuna draws with pyplot, which keeps every figure
