"""What a search found: the table of its trials, plots, and of replicates the spread."""

import csv
import io
import math
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.config import Sweep
from pipeline.files import atomic_write, write_text
from pipeline.space import Space
from pipeline.study import FAILURE, counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from optuna import Study
    from optuna.trial import FrozenTrial

_NAMES = {"val_accuracy": "validation accuracy", "val_loss": "validation loss"}


def write(folder: Path, study: Any, sweep: Sweep, space: Space) -> None:
    """Write trials.csv, and those plots that the trials are enough for."""
    write_text(folder / "trials.csv", _table(counted(study), sweep, space))
    complete = _complete(study)
    if sweep.replicates and complete:
        write_text(folder / "spread.txt", spread(study) + "\n")
    elif complete:
        _draw_all(folder, study, complete, sweep, space)


def spread(study: Any) -> str:
    """Of replicates: mean, standard deviation, and the mean's 95 % interval (Student, 1908)."""
    from scipy.stats import t

    values = np.array([trial.value for trial in _complete(study)], float)
    mean = f"mean {values.mean():.4f}"
    if len(values) < 2:
        return f"{mean} of one seed: no spread"
    deviation = values.std(ddof=1)
    half = t.ppf(0.975, len(values) - 1) * deviation / math.sqrt(len(values))
    return (
        f"{mean}, standard deviation {deviation:.4f}, 95 % interval "
        f"{values.mean() - half:.4f} to {values.mean() + half:.4f}, {len(values)} seeds"
    )


def _complete(study: Any) -> "list[FrozenTrial]":
    return [trial for trial in counted(study) if trial.state.name == "COMPLETE"]


def _table(trials: "list[FrozenTrial]", sweep: Sweep, space: Space) -> str:
    names = [parameter.name for parameter in space.searched]
    rows = [
        {
            "trial": trial.number,
            "state": trial.state.name,
            sweep.metric: trial.value,
            "epochs": trial.last_step,
            "seconds": round(trial.duration.total_seconds(), 3) if trial.duration else None,
            **{name: trial.params.get(name) for name in names},
            "failure": trial.user_attrs.get(FAILURE),
        }
        for trial in trials
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _draw_all(
    folder: Path, study: "Study", complete: "list[FrozenTrial]", sweep: Sweep, space: Space
) -> None:
    import matplotlib as mpl

    mpl.use("Agg")  # no window
    from optuna.visualization import matplotlib as plots

    name = _NAMES[sweep.metric]
    names = [p.name for p in space.searched if any(p.name in t.params for t in complete)]
    varied = [n for n in names if len({t.params[n] for t in complete if n in t.params}) > 1]
    drawn: dict[str, Callable[[], Any]] = {
        "history": lambda: plots.plot_optimization_history(study, target_name=name)
    }
    if names:
        drawn["slices"] = lambda: plots.plot_slice(study, params=names, target_name=name)
    if len(complete) > 1 and names:
        drawn["parallel"] = lambda: _name_coordinates(
            plots.plot_parallel_coordinate(study, params=names, target_name=name), sorted(names)
        )
    if len(complete) > 3 and varied:
        drawn["importances"] = lambda: plots.plot_param_importances(study, target_name=name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls its own plots experimental
        for file, draw in drawn.items():
            _save(_figure(draw()), folder / f"{file}.png")
    whole = [p.name for p in space.searched if p.name in varied and isinstance(p.values, range)]
    for parameter in whole:
        file = re.sub(r"[^\w.=-]+", "_", parameter)[:100]
        _save(_curve(complete, parameter, sweep), folder / f"curve_{file}.png")


def _curve(complete: "list[FrozenTrial]", name: str, sweep: Sweep) -> "Figure":
    """The metric over a whole number: each trial, and the best at each value."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

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


def _figure(axes: Any) -> "Figure":
    """The figure of what Optuna draws, one plot or a row of them, with room for long names."""
    from matplotlib.ticker import NullFormatter

    row = list(np.ravel(axes))
    figure = row[0].figure
    figure.set_size_inches(max(9, 3 * len(row)), 4.5)
    if len(row) > 1:
        figure.set_layout_engine("constrained")
        # Optuna's bar of colors is of the last plot alone, and the others have other scales.
        figure.axes[-1].remove()
        for axis in row:
            axis.set_xlabel(fill(axis.get_xlabel(), 24))
            axis.tick_params(axis="x", which="both", labelrotation=45)
            low, high = axis.get_xlim()
            if sum(low <= tick <= high for tick in axis.get_xticks()) > 1:
                axis.xaxis.set_minor_formatter(NullFormatter())  # powers of ten are enough
    return figure


def _name_coordinates(axis: Any, names: list[str]) -> Any:
    """Write the whole names, which Optuna cuts short, under parallel coordinates."""
    first, *rest = (label.get_text() for label in axis.get_xticklabels())
    assert all(n.startswith(cut.rstrip(".")) for n, cut in zip(names, rest, strict=True))
    labels = [first, *(fill(name, 24) for name in names)]
    axis.set_xticks(axis.get_xticks(), labels, rotation=30, ha="right")
    return axis


def _save(figure: "Figure", path: Path) -> None:
    from matplotlib import pyplot

    with atomic_write(path) as file:
        figure.savefig(
            file, format="png", dpi=100, bbox_inches="tight", metadata={"Software": None}
        )
    pyplot.close(figure)
