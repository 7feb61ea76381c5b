"""The best trials of a study again, each with several new seeds."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from pipeline.config.composition import compose, compose_sweep
from pipeline.config.overrides import is_at_or_below, key_of, merge_overrides
from pipeline.config.paths import CONF
from pipeline.config.presets import PRESET
from pipeline.config.schema import INITIAL_MODEL
from pipeline.sweeps.parsing import SHARED
from pipeline.sweeps.plan import Plan, plan_sweep
from pipeline.sweeps.preflight import REPLICATES
from pipeline.sweeps.presets import make_preset
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
from pipeline.system.files import write_text


def plan_replicates(
    study: optuna.Study, best: int, seeds: int, arguments: Sequence[str] = (), conf: Path = CONF
) -> Plan:
    """Write the presets of the best trials, and plan a sweep over them and over seeds.

    The seed of the trials is not used again. Each of these trials was chosen because it did well
    with that seed, so its value is too good on average.

    Args:
        study: a study that has its settings.
        best: how many trials; fewer if fewer are complete.
        seeds: how many seeds each has. They follow the seed of the trials.
        arguments: overrides of the launcher, and `sweep.workers`.
        conf: the folder of config groups.

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
    trained = compose(merge_overrides(base, chosen[0].user_attrs[OVERRIDES]), conf=conf)
    first = trained.train.seed + 1
    presets = dict(make_preset(study, trial.number) for trial in chosen)
    for path, text in presets.items():
        write_text(path, text)
    composed = compose_sweep(["sweep=seeds", *arguments], conf)
    sweep = composed.sweep.model_copy(
        update={
            "name": f"{name}{REPLICATES}",
            "metric": settings["metric"],
            "direction": settings["direction"],
            "trials": len(presets) * seeds,
            "params": {
                PRESET: f"choice({', '.join(path.stem for path in presets)})",
                SEED: f"range({first}, {first + seeds})",
            },
        }
    )
    # The presets have all other values. In the base, those would replace the values of the trials.
    shared = [text for text in base if is_at_or_below(key_of(text), (PRESET, *SHARED))]
    plan = plan_sweep(composed.model_copy(update={"sweep": sweep}), shared, conf=conf)
    initial = {INITIAL_MODEL: settings.get(INITIAL_MODEL, "")}
    return replace(plan, cfg=plan.cfg.model_copy(update=initial))


def best_trials(study: optuna.Study, count: int) -> list[FrozenTrial]:
    """The best complete trials; of equal ones, those that came first.

    If the weights are an objective too, they are those of the front with the best metric.
    """
    if is_two_objective(study):
        return pareto_front(study)[::-1][:count]
    ordered = sorted(complete_trials(study), key=lambda trial: trial.number)
    return sorted(ordered, key=value_of, reverse=is_maximized(study))[:count]
