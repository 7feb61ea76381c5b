"""The best trials of a study again, each with several new seeds."""

from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial

from pipeline.config.composition import compose, compose_sweep
from pipeline.config.overrides import merge_overrides
from pipeline.config.presets import PRESET
from pipeline.sweeps.plan import Plan, plan_sweep
from pipeline.sweeps.preflight import trained_settings
from pipeline.sweeps.presets import write_preset
from pipeline.sweeps.space import SEED
from pipeline.sweeps.trials import (
    OVERRIDES,
    SETTINGS,
    complete_trials,
    is_maximized,
    is_two_objective,
    pareto_front,
    value_of,
)
from pipeline.system.errors import UserError


def plan_replicates(
    study: optuna.Study, best: int, seeds: int, arguments: Sequence[str] = ()
) -> Plan:
    """Write the presets of the best trials, and plan a sweep over them and over seeds.

    The seed of the study is not used again. Each of these trials was chosen because it did well
    with that seed, so its value is too good on average.

    Args:
        study: a study that has its settings.
        best: how many trials; fewer if fewer are complete.
        seeds: how many seeds each has. They follow the seed of the study.
        arguments: overrides of the launcher, and `sweep.workers`.

    Returns:
        The plan of the sweep STUDY_replicates.

    Raises:
        UserError: when the study has replicates itself, or no complete trial.
    """
    name, settings, base = study.study_name, study.user_attrs[SETTINGS], study.user_attrs["base"]
    if settings["replicates"]:
        raise UserError(f"{name}: its trials are replicates already")
    chosen = best_trials(study, best)
    if not chosen:
        raise UserError(f"{name}: no trial is complete")
    presets = [write_preset(study, trial.number).stem for trial in chosen]
    for trial, preset in zip(chosen, presets, strict=True):
        given = compose(merge_overrides(base, trial.user_attrs[OVERRIDES]))
        again = compose(merge_overrides(base, [f"{PRESET}={preset}"]))
        if trained_settings(again) != trained_settings(given):
            raise UserError(f"{name}: {preset} cannot be trained with {' '.join(base)}")
    first = compose(base).train.seed + 1
    composed = compose_sweep(["sweep=seeds", *arguments])
    sweep = composed.sweep.model_copy(
        update={
            "name": f"{name}_replicates",
            "metric": settings["metric"],
            "direction": settings["direction"],
            "trials": len(presets) * seeds,
            "params": {
                PRESET: f"choice({', '.join(presets)})",
                SEED: f"range({first}, {first + seeds})",
            },
        }
    )
    return plan_sweep(composed.model_copy(update={"sweep": sweep}), base)


def best_trials(study: optuna.Study, count: int) -> list[FrozenTrial]:
    """The best complete trials; of equal ones, those that came first.

    If the weights are an objective too, they are those of the front with the best metric.
    """
    if is_two_objective(study):
        return pareto_front(study)[::-1][:count]
    ordered = sorted(complete_trials(study), key=lambda trial: trial.number)
    return sorted(ordered, key=value_of, reverse=is_maximized(study))[:count]
