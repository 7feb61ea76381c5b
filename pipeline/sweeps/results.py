"""The results of a sweep: a table of its trials, plots, and the spread of replicates."""

import math
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib as mpl
import numpy as np
import optuna
from matplotlib import pyplot
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from optuna.trial import FrozenTrial
from optuna.visualization import matplotlib as plots
from scipy.stats import t

from pipeline.config.schema import Sweep
from pipeline.evaluation.drawing import drawing, save_figure
from pipeline.sweeps.progress import trial_line
from pipeline.sweeps.space import Space
from pipeline.sweeps.trials import (
    FAILURE,
    OVERRIDES,
    best_trial,
    complete_trials,
    finished_trials,
)
from pipeline.system.files import write_csv, write_text

_NAMES = {
    "val_accuracy": "validation accuracy",
    "val_loss": "validation loss",
    "robust_accuracy": "accuracy on corrupted validation images",
}


def write_results(folder: Path, study: optuna.Study, sweep: Sweep, space: Space) -> None:
    """Write trials.csv. Also write spread.txt for replicates, else each plot with enough trials."""
    names = [parameter.name for parameter in space.searched]
    rows = [_row(trial, sweep.metric, names) for trial in finished_trials(study)]
    write_csv(folder / "trials.csv", rows)
    complete = complete_trials(study)
    if sweep.replicates and complete:
        write_text(folder / "spread.txt", spread(study) + "\n")
    elif complete:
        _draw_all(folder, study, complete, sweep, space)


def spread(study: optuna.Study) -> str:
    """Mean and standard deviation of replicates, with a 95 % interval (Student, 1908)."""
    values = np.array([trial.value for trial in complete_trials(study)], float)
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
        print(f"{sweep.name}: {sweep.metric} {spread(study)}")
    else:
        print(f"best is {trial_line(best, sweep.metric)}")
        print(f"table and plots: {folder}; to make it a preset: make promote STUDY={sweep.name}")


def _row(trial: FrozenTrial, metric: str, names: list[str]) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "state": trial.state.name,
        metric: trial.value,
        "epochs": trial.last_step,
        "seconds": round(trial.duration.total_seconds(), 3) if trial.duration else None,
        **{name: trial.params.get(name) for name in names},
        "failure": trial.user_attrs.get(FAILURE),
    }


def _draw_all(
    folder: Path, study: optuna.Study, complete: list[FrozenTrial], sweep: Sweep, space: Space
) -> None:
    mpl.use("Agg")  # needs no display
    name = _NAMES[sweep.metric]
    names = [p.name for p in space.searched if any(p.name in t.params for t in complete)]
    varied = [n for n in names if len({t.params[n] for t in complete if n in t.params}) > 1]
    draw: dict[str, Callable[[], Any]] = {
        "history": lambda: plots.plot_optimization_history(study, target_name=name)
    }
    if names:
        draw["slices"] = lambda: plots.plot_slice(study, params=names, target_name=name)
    if len(complete) > 1 and names:
        draw["parallel"] = lambda: _name_coordinates(
            plots.plot_parallel_coordinate(study, params=names, target_name=name), sorted(names)
        )
    if len(complete) > 3 and varied:
        draw["importances"] = lambda: plots.plot_param_importances(study, target_name=name)
    with drawing(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls its own plots experimental
        for file, make in draw.items():
            _save(_figure(make()), folder / f"{file}.png")
        whole = [p.name for p in space.searched if p.name in varied and isinstance(p.values, range)]
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


def _figure(axes: Any) -> Figure:
    """Resize Optuna's figure, which has one plot or a row of plots, so that long names fit."""
    row = list(np.ravel(axes))
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
