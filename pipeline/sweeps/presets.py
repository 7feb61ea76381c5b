"""Write a trial of a study as a preset, which composes to the trial's configuration."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.trial import FrozenTrial

from pipeline.config.composition import compose, group_choices
from pipeline.config.overrides import key_of, merge_overrides
from pipeline.config.paths import CONF
from pipeline.config.presets import PRESET
from pipeline.sweeps.results import spread_of
from pipeline.sweeps.space import SEED
from pipeline.sweeps.trials import (
    DEATHS,
    HISTORY,
    OVERRIDES,
    PROCESSOR,
    SETTINGS,
    THREADS,
    best_trial,
    complete_trials,
    finished_trials,
    is_two_objective,
    pareto_front,
    replicates_by_mean,
    weights_of,
)
from pipeline.system.errors import UserError
from pipeline.system.files import TEMPORARY, write_text
from pipeline.training.history import best_epoch


def write_preset(study: optuna.Study, number: int | None = None) -> Path:
    """Write the preset of a trial of a study; see `make_preset`.

    Returns:
        The path of the preset, in conf/experiment.
    """
    path, text = make_preset(study, number)
    write_text(path, text)
    return path


def make_preset(study: optuna.Study, number: int | None = None) -> tuple[Path, str]:
    """The preset of a trial of a study, which is not written yet.

    Args:
        study: a study that has its settings.
        number: the number of a complete trial; None for the best one. Of replicates of several
            presets, it is the preset with the best mean.

    Returns:
        The path of the preset, in conf/experiment, and its text.

    Raises:
        UserError: when the study has no best trial, or no such complete trial, or when no preset
            can express the trial.
    """
    name = study.study_name
    stem = f"best_{name}" if number is None else f"{name}_trial_{number}"
    trial = _choose(study, name, number)
    threads = trial.user_attrs[THREADS]
    base = merge_overrides(study.user_attrs["base"], [f"train.threads={threads}"])
    overrides = merge_overrides(base, trial.user_attrs[OVERRIDES])
    head = _head(stem, study, trial)
    if number is None and study.user_attrs[SETTINGS]["replicates"]:
        overrides = [text for text in overrides if key_of(text) != SEED or text in base]
        head = _head_of_mean(stem, study)
    return CONF / PRESET / f"{stem}.yaml", _preset(stem, overrides, head)


def _choose(study: optuna.Study, name: str, number: int | None) -> FrozenTrial:
    """The trial of this number, or the best one."""
    best = best_trial(study)
    if best is None:
        raise UserError(f"{name}: no trial is complete")
    if number is None:
        if not study.user_attrs[SETTINGS]["replicates"]:
            return best
        groups = replicates_by_mean(study)
        if len(groups) < 2:
            raise UserError(f"{name}: its trials differ only in their seeds, so none is the best")
        return groups[0][0]
    complete = {trial.number: trial for trial in complete_trials(study)}
    if number not in complete:
        numbers = ", ".join(map(str, sorted(complete)))
        raise UserError(f"{name}: trial {number} is not complete; those that are: {numbers:.200}")
    return complete[number]


def _preset(name: str, overrides: list[str], head: str) -> str:
    """The text of a preset that composes to the same configuration as the overrides.

    Raises:
        UserError: when an override removes a key, which a preset cannot express.
    """
    wanted = compose(overrides)
    picked = [{f"override /{group}": file} for group, file in group_choices(overrides).items()]
    with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:
        conf = Path(folder) / CONF.name
        shutil.copytree(CONF, conf)
        path = conf / "experiment" / f"{name}.yaml"
        text = f"# @package _global_\n{head}{_yaml({'defaults': picked})}"
        path.write_text(text)
        given = compose([f"experiment={name}"], conf=conf)
        values = _changes(given.settings(), wanted.settings())
        text += f"\n{_yaml(values)}" if values else ""
        path.write_text(text)
        if compose([f"experiment={name}"], conf=conf).settings() != wanted.settings():
            raise UserError(f"a preset cannot express the overrides {' '.join(overrides)}")
    return text


def _changes(given: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """The values to set in `given` so that it equals `wanted`."""
    changes = {}
    for key, value in wanted.items():
        current = given.get(key)
        if isinstance(value, dict) and isinstance(current, dict):
            if inner := _changes(current, value):
                changes[key] = inner
        elif key not in given or current != value:
            changes[key] = value
    return changes


def _yaml(values: dict[str, Any]) -> str:
    return yaml.safe_dump(values, sort_keys=False)


def _head(name: str, study: optuna.Study, trial: FrozenTrial) -> str:
    row = best_epoch(trial.user_attrs[HISTORY])
    attributes = trial.user_attrs
    threads = attributes[THREADS]
    seconds = f"{trial.duration.total_seconds() if trial.duration else 0:.0f} s"
    # The duration is that of the last attempt.
    cost = f"at least {seconds}" if DEATHS in attributes else seconds
    processor = f", on {attributes[PROCESSOR]}" if PROCESSOR in attributes else ""
    best = ", the best" if trial == best_trial(study) else ""
    size = ""
    if is_two_objective(study) and trial in pareto_front(study):
        size = (
            f"\n# It has {weights_of(trial):,} weights, and is better than every smaller network."
        )
    count = len(finished_trials(study))
    return f"""# Trial {trial.number}{best} of {count} trials in the sweep {study.study_name}.{size}
#
#   dvc exp run -S experiment={name}
#
# Cost: {cost} of training with {threads} thread{"s" * (threads > 1)}{processor}
# Validation accuracy: {row["val_accuracy"]!r}, loss {row["val_loss"]!r}, at epoch {row["epoch"]}
"""


def _head_of_mean(name: str, study: optuna.Study) -> str:
    best, *others = replicates_by_mean(study)
    metric = study.user_attrs[SETTINGS]["metric"]
    return f"""# The best mean of {len(others) + 1} presets in the sweep {study.study_name}.
#
#   dvc exp run -S experiment={name}
#
# It is {best[0].params[PRESET]}: {metric} {spread_of(best)}
"""
