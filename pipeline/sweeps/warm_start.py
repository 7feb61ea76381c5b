"""What a new study starts with: known good parameters, and the trials of another study."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna

from pipeline.config.composition import compose
from pipeline.config.overrides import merge_overrides, to_grammar
from pipeline.config.paths import CONF
from pipeline.config.schema import INITIAL_MODEL, Config, Sweep
from pipeline.sweeps.preflight import trained_settings
from pipeline.sweeps.space import Parameter, Params, Space, Value, values_of
from pipeline.sweeps.storage import Study, find_study
from pipeline.sweeps.trials import (
    DEATHS,
    HISTORY,
    OVERRIDES,
    PROCESSOR,
    QUEUED_PARAMS,
    RUN,
    SETTINGS,
    STARTING_POINT,
    TAKEN_OVER,
    THREADS,
    WEIGHTS,
    complete_trials,
    params_key,
    taken_over_trials,
    value_of,
)
from pipeline.system.errors import UserError, nearest

# Attributes of a trial that is taken over.
_COPIED = (DEATHS, HISTORY, PROCESSOR, RUN, THREADS, WEIGHTS)


def starting_points(sweep: Sweep, space: Space, base: list[str], conf: Path = CONF) -> list[Params]:
    """The parameters of each item of `sweep.enqueue`, by the names of parameters.

    A key that an item leaves out has the value that it has without the sweep. If that is not in the
    space, the sampler chooses the value.

    Args:
        sweep: the settings of the sweep.
        space: the parameters of the sweep.
        base: the overrides that all trials share.
        conf: the folder of config groups.

    Raises:
        UserError: naming the item, when its values are not in the space, or give no valid
            configuration.
    """
    is_grid = str(sweep.sampler.get("_target_")).endswith(".GridSampler")
    if sweep.replicates or is_grid:
        if any(sweep.enqueue):
            kind = "a grid" if is_grid else "a sweep of replicates"
            raise UserError(f"sweep.enqueue: {kind} tries only its own values")
        return []
    points = []
    for number, item in enumerate(sweep.enqueue, 1):
        try:
            points.append(_starting_point(space, base, item, conf))
        except UserError as error:
            where = f"sweep.enqueue, item {number} ({conf.name}/sweep: {sweep.name})"
            raise UserError(f"{where}: {error}") from None
    return points


def _starting_point(space: Space, base: list[str], item: dict[str, Any], conf: Path) -> Params:
    given = {key.lstrip("+"): _to_value(value) for key, value in item.items()}
    overrides = [_branch(space, key, value).override(value) for key, value in given.items()]
    params: Params = {}
    unused = set(given)

    def preset_value(parameter: Parameter) -> Value:
        cfg = compose(merge_overrides(base, overrides), conf=conf)
        return _value_in(cfg, parameter.target)

    def value_of(parameter: Parameter) -> Value:
        unused.discard(parameter.target)
        found = _find(parameter, given, preset_value)
        value = (found or parameter.values)[0]
        if found or not parameter.distribution:
            overrides[:] = merge_overrides(overrides, [parameter.override(value)])
        if found and parameter.distribution:
            params[parameter.name] = value
        return value

    chosen = space.overrides(value_of)
    if unused:
        key = min(unused)
        others = " ".join(text for text in chosen if not text.startswith(f"{key}="))
        raise UserError(f"{key} does not apply with {others}")
    compose(merge_overrides(base, space.overrides(values_of(params))), conf=conf)
    return params


def _branch(space: Space, key: str, value: Value) -> Parameter:
    """The parameter with this key that tries the value; a key may have several."""
    branches = [parameter for parameter in space.parameters if parameter.target == key]
    if not branches:
        targets = sorted({parameter.target for parameter in space.parameters})
        raise UserError(f"the sweep does not set {key}{nearest(key, targets)}")
    for parameter in branches:
        if parameter.find(value):
            return parameter
    raise UserError(f"{key}={value} is not one of the sweep's values")


def _find(
    parameter: Parameter, given: Params, preset_value: Callable[[Parameter], Value]
) -> Sequence[Value]:
    """The value to start with: the given one, or else the preset's. [] leaves it to the sampler."""
    if parameter.target not in given:
        return parameter.find(preset_value(parameter)) if parameter.distribution else []
    value = given[parameter.target]
    if found := parameter.find(value):
        return found
    raise UserError(f"{parameter.name}: {value} is not one of its values")


def warm_start(
    study: Study,
    sweep: Sweep,
    space: Space,
    base: list[str],
    points: list[Params],
    digest: str,
    initial: str = "",
) -> None:
    """Give a new study its starting points, and the trials of `sweep.from`.

    A second call changes nothing, because a kill may have interrupted the first.

    Args:
        study: the study; call this under its lock.
        sweep: the settings of the sweep.
        space: the parameters of the sweep.
        base: the overrides that all trials share.
        points: what `starting_points` returned.
        digest: the digest of the prepared data.
        initial: SHA-256 of the model that trials start from; "" if there is none.

    Raises:
        UserError: when the other study does not exist, or has another metric, other data or another
            initial model.
    """
    if sweep.from_:
        folder = study.store.folder.parent / sweep.from_
        other = find_study(folder, sweep.from_, study.store.database)
        theirs = other.user_attrs[SETTINGS]
        if theirs["metric"] != sweep.metric:
            raise UserError(f"sweep.from: the metric of {sweep.from_} is {theirs['metric']}")
        if theirs["data"] != digest:
            raise UserError(f"sweep.from: {sweep.from_} was trained on other data")
        if theirs.get(INITIAL_MODEL, "") != initial:
            raise UserError(f"sweep.from: the trials of {sweep.from_} started from another model")
        skipped = _take_over(study, other, sweep, space, base)
        taken, count = len(taken_over_trials(study)), len(complete_trials(other))
        text = f"{taken} of {count} complete trials of {sweep.from_} lie in its space"
        if skipped:
            text += f"; without a valid configuration: {skipped}"
        print(f"{sweep.name}: {text}")
    known = {params_key(trial.params) for trial in complete_trials(study)}
    for params in points:
        if params and params_key(params) not in known:
            attributes = {QUEUED_PARAMS: params, STARTING_POINT: True}
            study.enqueue_trial(params, user_attrs=attributes, skip_if_exists=True)


def _take_over(study: Study, other: Study, sweep: Sweep, space: Space, base: list[str]) -> int:
    """Add the complete trials of another study that lie in the space.

    A trial of an earlier version has no number of weights: it is not taken over if that counts.

    Returns:
        How many trials were skipped because they give no valid configuration, such as one whose
        preset was removed.
    """
    known = {params_key(trial.params) for trial in complete_trials(study)}
    skipped = 0
    for trial in complete_trials(other):
        if sweep.also_minimize and WEIGHTS not in trial.user_attrs:
            continue
        params: Params = {}
        try:
            theirs = compose(merge_overrides(other.user_attrs["base"], trial.user_attrs[OVERRIDES]))
            overrides = space.overrides(_reader(theirs, params))
            ours = compose(merge_overrides(base, overrides))
        except UserError:
            skipped += 1
            continue
        if trained_settings(ours) != trained_settings(theirs) or params_key(params) in known:
            continue
        known.add(params_key(params))
        searched = {p.name: p.distribution for p in space.searched if p.distribution}
        added = optuna.trial.create_trial(
            values=sweep.objectives(value_of(trial), trial.user_attrs.get(WEIGHTS, 0)),
            params=params,
            distributions={name: searched[name] for name in params},
            intermediate_values=None if sweep.also_minimize else trial.intermediate_values,
            user_attrs={
                **{key: trial.user_attrs[key] for key in _COPIED if key in trial.user_attrs},
                OVERRIDES: overrides,
                TAKEN_OVER: f"trial {trial.number} of {other.study_name}",
            },
        )
        added.datetime_start = trial.datetime_start
        added.datetime_complete = trial.datetime_complete
        study.add_trial(added)
    return skipped


def _reader(cfg: Config, params: Params) -> Callable[[Parameter], Value]:
    """Reads the values of parameters from a configuration, and notes those that are searched.

    A value that is not in the space is replaced by the first one that is.
    """

    def value_of(parameter: Parameter) -> Value:
        value = (parameter.find(_value_in(cfg, parameter.target)) or parameter.values)[0]
        if parameter.distribution:
            params[parameter.name] = value
        return value

    return value_of


def _value_in(cfg: Config, key: str) -> Value:
    """The value of a key, or the file of a config group, as a space stores it."""
    if key in cfg.choices:
        return cfg.choices[key]
    value: Any = cfg.settings()
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return _to_value(value)


def _to_value(value: Any) -> Value:
    """A value as a space stores it: a list or a mapping as its text."""
    return to_grammar(value) if isinstance(value, list | dict) else value
