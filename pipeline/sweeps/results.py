"""The results of a sweep: a table of its trials, and the spread of replicates."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial
from scipy.stats import t

from pipeline.config.overrides import key_of
from pipeline.config.presets import PRESET
from pipeline.config.schema import Sweep
from pipeline.sweeps.descriptions import describe_replicates, describe_sweep
from pipeline.sweeps.plots import draw_plots
from pipeline.sweeps.progress import trial_line
from pipeline.sweeps.space import SEED, Space
from pipeline.sweeps.storage import Store, Study
from pipeline.sweeps.trials import (
    FAILURE,
    OVERRIDES,
    RUN,
    TAKEN_OVER,
    WEIGHTS,
    best_trial,
    complete_trials,
    epochs_of,
    finished_trials,
    is_two_objective,
    mean_value,
    pareto_front,
    replicates_by_mean,
    value_of,
)
from pipeline.system.files import write_csv, write_text
from pipeline.system.redaction import redact


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
        draw_plots(folder, study, sweep, space)


def spread(study: optuna.Study) -> str:
    """The spread of replicates: a line for each preset if there are several, best mean first."""
    groups = replicates_by_mean(study)
    if len(groups) == 1:
        return spread_of(groups[0])
    return "\n".join(f"{trials[0].params[PRESET]}: {spread_of(trials)}" for trials in groups)


def spread_of(trials: Sequence[FrozenTrial]) -> str:
    """Mean and standard deviation of replicates, with a 95 % interval (Student, 1908)."""
    values = np.array([value_of(trial) for trial in trials])
    mean = f"mean {values.mean():.4f}"
    if len(values) < 2:
        return f"{mean}, one seed: no standard deviation"
    deviation = values.std(ddof=1)
    half = t.ppf(0.975, len(values) - 1) * deviation / math.sqrt(len(values))
    return (
        f"{mean}, standard deviation {deviation:.4f}, 95 % interval "
        f"{values.mean() - half:.4f} to {values.mean() + half:.4f}, {len(values)} seeds"
    )


def best_tags(study: optuna.Study, sweep: Sweep) -> dict[str, str]:
    """The tags of a sweep's run that describe its best trial, and the front of two objectives.

    Of replicates of several presets, they describe the one with the best mean. Replicates of one
    preset have none, because the best seed was only lucky.
    """
    best = best_trial(study)
    if best is None:
        return {}
    if sweep.replicates:
        trials, *others = replicates_by_mean(study)
        preset = [text for text in trials[0].user_attrs[OVERRIDES] if key_of(text) != SEED]
        tags = {"best.value": str(mean_value(trials)), "best.overrides": " ".join(preset)}
        return tags if others else {}
    tags = {
        "best.trial": str(best.number),
        "best.value": str(value_of(best)),
        "best.overrides": " ".join(best.user_attrs[OVERRIDES]),
    }
    if is_two_objective(study):
        tags["front.trials"] = ", ".join(str(trial.number) for trial in pareto_front(study))
    return tags


def describe_results(study: Study, sweep: Sweep) -> str:
    """The result of a sweep, and how to make it a preset, in Markdown."""
    if sweep.replicates and complete_trials(study):
        lines = [f"{sweep.metric}: {line}" for line in spread(study).splitlines()]
        promote = promote_command(study.store, sweep.name) if len(lines) > 1 else ""
        return describe_replicates(lines, promote)
    promote = promote_command(study.store, sweep.name, of_trial=bool(sweep.also_minimize))
    return describe_sweep(best_tags(study, sweep), promote)


def promote_command(store: Store, name: str, of_trial: bool = False) -> str:
    """The command that makes a preset of the best trial of a study.

    Args:
        store: where the study is kept.
        name: the name of the study.
        of_trial: whether the command has a place for the number of a trial.
    """
    if store.database:
        command = f"python -m pipeline.promote {name} --storage {redact(store.database)}"
        return command + " --trial NUMBER" * of_trial
    return f"make promote STUDY={name}" + " TRIAL=NUMBER" * of_trial


def print_summary(study: Study, sweep: Sweep, folder: Path) -> None:
    """Print the result of a sweep, and where the details are."""
    best = best_trial(study)
    promote = promote_command(study.store, sweep.name, of_trial=bool(sweep.also_minimize))
    if best is None:
        print(f"{sweep.name}: no trial is complete")
    elif sweep.replicates:
        several = len(replicates_by_mean(study)) > 1
        separator = "\n" if several else " "
        print(f"{sweep.name}: {sweep.metric}{separator}{spread(study)}")
        if several:
            print(f"to make the one with the best mean a preset: {promote}")
    elif sweep.also_minimize:
        print(f"{sweep.name}: the networks that are better than every smaller one")
        for trial in pareto_front(study):
            print(trial_line(trial, sweep.metric))
        print(f"table and plots: {folder}; a preset: {promote}")
    else:
        print(f"best is {trial_line(best, sweep.metric)}")
        print(f"table and plots: {folder}; to make it a preset: {promote}")


def _row(trial: FrozenTrial, sweep: Sweep, names: list[str]) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "state": trial.state.name,
        sweep.metric: value_of(trial) if trial.values else None,
        "epochs": epochs_of(trial),
        "weights": trial.user_attrs.get(WEIGHTS),
        "seconds": round(trial.duration.total_seconds(), 3) if trial.duration else None,
        **{name: trial.params.get(name) for name in names},
        "failure": trial.user_attrs.get(FAILURE),
        **({"taken_over": trial.user_attrs.get(TAKEN_OVER)} if sweep.from_ else {}),
        "run": trial.user_attrs.get(RUN),
    }
