"""Read the `params` of a sweep, which are written in Hydra's override grammar.

Examples:
    params:
      model: choice(mlp, cnn)                                # files of the group conf/model/
      optimizer.learning_rate: tag(log, interval(1e-4, 1e-1))
      model.depth: {when: model=mlp, space: "range(1, 5)"}   # only if model is mlp
      train.epochs:                                          # the first whose condition holds
        - {when: model=mlp, space: 8}                        # one value: constant
        - {when: model=cnn, space: 4}
"""

import math
from collections.abc import Sequence
from decimal import Decimal
from graphlib import CycleError, TopologicalSorter
from itertools import islice
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    IntervalSweep,
    Override,
    QuotedString,
    RangeSweep,
)
from hydra.errors import HydraException
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from pipeline.config.overrides import is_at_or_below, key_of, parse_overrides, to_grammar
from pipeline.config.paths import CONF, options_of
from pipeline.config.presets import PRESET
from pipeline.config.schema import Sweep
from pipeline.sweeps.forms import working_form
from pipeline.sweeps.space import SEED, Parameter, Space, Value
from pipeline.system.errors import UserError, nearest, one_line

# Keys that all trials share, so a sweep cannot set them. Trials must use the same data and threads
# and start from the same model. The other keys do not change the value of a trial.
SHARED = ("data", "prepare", "fetch", "evaluate", "tracking", "train.threads", "train.init_from")
NO_SEED = "do not tune the seed: the best one is luck; `replicates: true` marks a sweep over seeds"


def parse_space(sweep: Sweep, conf: Path = CONF) -> Space:
    """Read the `params` of a sweep.

    Raises:
        UserError: naming the key, when its value is not a valid space, its condition cannot hold,
            or all trials must share it.
    """
    source = f"{conf.name}/sweep: {sweep.name}"
    parameters: dict[str, list[Parameter]] = {}
    for key, given in sweep.params.items():
        _check_key(key, list(sweep.params), source, conf)
        branches = branches_of(given)
        parameters[key] = [
            _parameter(key, branch, len(branches) > 1, source, conf) for branch in branches
        ]
    targets = {branches[0].target: branches for branches in parameters.values()}
    for key, branches in parameters.items():
        for parameter in branches:
            _check_condition(key, parameter, targets, source)
    space = Space([p for target in _order(targets, source) for p in targets[target]])
    _check_seeds(space, sweep.replicates, source)
    return space


def branches_of(given: Any) -> list[Any]:
    """The branches of a parameter as written: the items of a list with conditions, or itself."""
    several = isinstance(given, list) and any(isinstance(part, dict) for part in given)
    return given if several else [given]


def drop_overridden(sweep: Sweep, arguments: Sequence[str], conf: Path = CONF) -> Sweep:
    """Drop the constant parameters of a sweep that the command line sets instead.

    Raises:
        UserError: when the command line sets a key that the sweep varies.
    """
    given = [key_of(argument) for argument in arguments]
    params = dict(sweep.params)
    for parameter in parse_space(sweep, conf).parameters:
        clash = [key for key in given if _sets(key, parameter.target, conf)]
        if parameter.target in clash and not (parameter.distribution or parameter.condition):
            del params[parameter.key]
        elif clash:
            raise UserError(f"{clash[0]} (the command line): the sweep sets {parameter.key}")
    if not params:
        raise UserError(f"{sweep.name}: the command line sets all of its parameters")
    return sweep.model_copy(update={"params": params})


def _order(targets: dict[str, list[Parameter]], source: str) -> list[str]:
    """The targets in the order of the file, each moved after those that its conditions name."""
    after = {
        target: [parameter.condition[0] for parameter in branches if parameter.condition]
        for target, branches in targets.items()
    }
    try:
        return list(TopologicalSorter(after).static_order())
    except CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        raise UserError(f"{source}: the conditions form a circle: {circle}") from None


def _check_key(key: str, keys: list[str], source: str, conf: Path) -> None:
    target = key.lstrip("+")
    if target.startswith("~"):
        raise UserError(f"{key} ({source}): a sweep sets values; it cannot remove a key")
    if is_at_or_below(target, (*SHARED, "hydra")):
        raise UserError(f"{key} ({source}): all trials share it; set it on the command line")
    for other in keys:
        if other != key and _sets(other.lstrip("+"), target, conf):
            raise UserError(f"{key} ({source}): {other} also sets it")


def _sets(key: str, other: str, conf: Path) -> bool:
    """Whether setting `key` also sets `other`. Picking a group's file does not set its keys."""
    return other == key or (other.startswith(f"{key}.") and not (conf / key).is_dir())


def _check_seeds(space: Space, replicates: bool, source: str) -> None:
    for parameter in space.searched:
        if replicates and parameter.target not in (SEED, PRESET):
            only = f"replicates may vary only {SEED} and {PRESET}"
            raise UserError(f"{parameter.key} ({source}): {only}")
        if not replicates and parameter.target == SEED:
            raise UserError(f"{SEED} ({source}): {NO_SEED}")


def _check_condition(
    key: str, parameter: Parameter, parameters: dict[str, list[Parameter]], source: str
) -> None:
    if parameter.condition is None:
        return
    above, values = parameter.condition
    if above not in parameters:
        others = [name for name in parameters if name != key]
        raise UserError(
            f"{key} ({source}): its condition is on {above!r}, which the sweep does not set"
            f"{nearest(above, others)}"
        )
    branches = parameters[above]
    for value in values:
        if not any(value in branch.values for branch in branches):
            possible = (str(v) for branch in branches for v in branch.values)
            raise UserError(
                f"{key} ({source}): {above} is never {value}"
                f"{nearest(str(value), list(islice(possible, 100)))}"
            )


def _parameter(key: str, given: Any, several: bool, source: str, conf: Path) -> Parameter:
    """Read one parameter, or one branch of a parameter that has several."""
    condition, name = None, key
    if isinstance(given, dict):
        if set(given) != {"when", "space"}:
            if form := working_form(given):
                raise UserError(f"{key} ({source}): write {form}, not {to_grammar(given)}")
            raise UserError(
                f"{key} ({source}): a condition is written {{when: key=value, space: ...}}, "
                f"not with the keys {', '.join(map(str, given))}"
            )
        condition = _condition(key, str(given["when"]), source, conf)
        name = f"{key} ({given['when']})" if several else key
        given = given["space"]
    elif several:
        raise UserError(f"{key} ({source}): each item of the list needs a `when` and a `space`")
    override = _parse(key, given, source)
    try:
        values, distribution = _range(override)
        texts: dict[Value, str] = {}
        if not values:
            choices = _choices(override, conf)
            values, texts = [value for value, _ in choices], dict(choices)
            if len(set(values)) < len(values):
                raise ValueError("duplicate choice")
            distribution = CategoricalDistribution(values)
    except (ValueError, HydraException) as error:
        raise UserError(f"{key}={given} ({source}): {one_line(error)}") from None
    return Parameter(name, key, condition, values, distribution if len(values) > 1 else None, texts)


def _condition(key: str, when: str, source: str, conf: Path) -> tuple[str, list[Value]]:
    [override] = parse_overrides([when], f"{key}, {source}")
    if not override.is_choice_sweep() and override.is_sweep_override():
        raise UserError(f"{key} ({source}): when {when}: must be a value or a choice")
    return override.key_or_group, [value for value, _ in _choices(override, conf)]


def _parse(key: str, given: Any, source: str) -> Override:
    # In YAML, a string may span several lines.
    text = " ".join(given.splitlines()) if isinstance(given, str) else to_grammar(given)
    try:
        [override] = parse_overrides([f"{key}={text}"], source)
    except UserError:
        if form := working_form(given):
            raise UserError(f"{key} ({source}): write {form}, not {text}") from None
        raise
    return override


def _range(override: Override) -> tuple[Sequence[Value], BaseDistribution | None]:
    """The values and the distribution of a range or an interval; [] and None for anything else.

    Raises:
        ValueError: when it is empty, or cannot have a logarithmic scale.
    """
    given = override.value()
    if isinstance(given, IntervalSweep):
        return _interval(given)
    if not isinstance(given, RangeSweep):
        return [], None
    # Decimals are exact: with binary floats, 0.1 + 2 * 0.1 is not 0.3.
    parts = (given.start, given.stop, given.step)
    first, stop, by = (Decimal(str(part)) for part in parts)
    count = math.ceil((stop - first) / by) if by else 0
    if count < 1:
        raise ValueError("the range is empty: it does not include its end")
    least, most = sorted((first, first + (count - 1) * by))
    if all(isinstance(part, int) for part in parts):
        whole, log = range(int(least), int(most) + 1, abs(int(by))), "log" in given.tags
        return whole, IntDistribution(whole[0], whole[-1], log=log, step=whole.step)
    if "log" in given.tags:
        raise ValueError("a range with steps cannot have a log scale: use an interval")
    values = [float(least + i * abs(by)) for i in range(count)]
    return values, FloatDistribution(values[0], values[-1], step=float(abs(by)))


def _interval(given: IntervalSweep) -> tuple[Sequence[Value], BaseDistribution]:
    low, high, log = given.start, given.end, "log" in given.tags
    assert low is not None
    assert high is not None
    if isinstance(low, int) and isinstance(high, int):
        return range(low, high + 1), IntDistribution(low, high, log=log)
    if low == high:
        raise ValueError("the interval is empty: its two ends are equal")
    return [low, high], FloatDistribution(low, high, log=log)


def _choices(override: Override, conf: Path) -> list[tuple[Value, str]]:
    """The values of a choice, or the single value, each with its text in Hydra's grammar.

    Optuna stores only plain values, so a list or a mapping is stored as its text.
    """
    group = override.key_or_group
    is_group = (conf / group).is_dir()
    given = override.value()
    listed: Any = [given]
    if isinstance(given, ChoiceSweep):
        listed = given.list
    elif isinstance(given, Glob):
        listed = given.filter(options_of(group, conf))
        if not listed:
            raise ValueError("the pattern matches no file of the group")
    result = []
    for part in listed:
        value = _plain(part)
        text = str(value) if is_group and value is not None else to_grammar(value)
        result.append((text if isinstance(value, list | dict) else value, text))
    return result


def _plain(value: Any) -> Any:
    """A value of Hydra's grammar as a plain Python value."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    return value
