"""What a search tries: parameters in Hydra's override grammar, some only under a condition.

params:
model: choice(mlp, cnn)                                # a file of a group
optimizer.learning_rate: tag(log, interval(1e-4, 1e-1))
model.depth: {when: model=mlp, space: range(1, 5)}     # only with the MLP
train.epochs:                                          # the first whose condition holds
- {when: model=mlp, space: 8}                        # a plain value: not searched
- {when: model=cnn, space: 4}
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    IntervalSweep,
    Override,
    RangeSweep,
)
from hydra.errors import HydraException

from pipeline import config
from pipeline.command import UserError
from pipeline.config import CONF, Sweep

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution

Value = None | bool | int | float | str
Params = dict[str, Value]  # by the names of parameters
MAX_COMBINATIONS = 10_000  # a larger space counts as endless

# What every trial shares: its data, the threads of its worker, and what changes no result.
_SHARED = ("data", "prepare", "fetch", "evaluate", "tracking", "train.threads", "train.init_from")
_MAX_BRANCHES = 200  # combinations of conditions that are composed before the first trial


@dataclass(frozen=True)
class Parameter:
    """A key of the configuration with the values to try, under a condition or always.

    Attributes:
        name: what Optuna calls it: the key, and its condition where the key has several.
        key: of the configuration, or a config group; with the + of one that is added to it.
        condition: another parameter's target, and the values of it under which this one counts.
        values: those to try, in order; of an interval, its two ends.
        distribution: for Optuna; None where there is but one value.
        texts: the values in Hydra's grammar, where that is not what `to_grammar` makes of them.
    """

    name: str
    key: str
    condition: tuple[str, list[Value]] | None
    values: Sequence[Value]
    distribution: "BaseDistribution | None"
    texts: dict[Value, str]

    @property
    def target(self) -> str:
        """The key without a +: what it sets."""
        return self.key.lstrip("+")

    @property
    def is_finite(self) -> bool:
        from optuna.distributions import FloatDistribution

        endless = isinstance(self.distribution, FloatDistribution) and not self.distribution.step
        return not endless

    def holds(self, chosen: Params) -> bool:
        """Whether it counts, given the values of the keys before it."""
        if self.condition is None:
            return True
        key, values = self.condition
        return key in chosen and chosen[key] in values

    def suggest(self, trial: "Trial") -> Value:
        """Let Optuna choose a value."""
        from optuna.distributions import FloatDistribution, IntDistribution

        match self.distribution:
            case None:
                return self.values[0]
            case FloatDistribution(low=low, high=high, step=step, log=log):
                value = trial.suggest_float(self.name, low, high, step=step, log=log)
                # Optuna adds up the steps: 0.1 + 2 * 0.1 is not 0.3.
                steps = [v for v in self.values if isinstance(v, float)]
                return min(steps, key=lambda v: abs(v - value)) if step else value
            case IntDistribution(low=low, high=high, step=step, log=log):
                return trial.suggest_int(self.name, low, high, step=step, log=log)
            case _:
                return trial.suggest_categorical(self.name, self.values)

    def override(self, value: Value) -> str:
        """`key=value` in Hydra's grammar."""
        return f"{self.key}={self.texts.get(value, config.to_grammar(value))}"


@dataclass(frozen=True)
class Space:
    """The parameters of a search, each after the one that its condition names."""

    parameters: list[Parameter]

    def overrides(self, value_of: Callable[[Parameter], Value]) -> list[str]:
        """The overrides that a choice of values comes to.

        Args:
            value_of: called for each parameter whose condition holds.
        """
        chosen: Params = {}
        result = []
        for parameter in self.parameters:
            if parameter.target not in chosen and parameter.holds(chosen):
                value = chosen[parameter.target] = value_of(parameter)
                result.append(parameter.override(value))
        return result

    @property
    def searched(self) -> list[Parameter]:
        """The parameters that have more than one value."""
        return [parameter for parameter in self.parameters if parameter.distribution]

    @cached_property
    def combinations(self) -> list[Params] | None:
        """All that there is to try; None where that is endless, or more than can be listed."""
        if not all(parameter.is_finite for parameter in self.parameters):
            return None
        found = list(itertools.islice(self._combine(lambda p: p.values), MAX_COMBINATIONS + 1))
        if len(found) > MAX_COMBINATIONS:
            return None
        searched = {parameter.name for parameter in self.searched}
        return [{name: params[name] for name in params if name in searched} for params in found]

    def _combine(
        self,
        choices_of: Callable[[Parameter], Sequence[Value]],
        chosen: Params | None = None,
        params: Params | None = None,
        index: int = 0,
    ) -> Iterator[Params]:
        """All combinations of some values of each parameter; of those that count in each, all."""
        chosen, params = chosen or {}, params or {}
        if index == len(self.parameters):
            yield params
            return
        parameter = self.parameters[index]
        if parameter.target in chosen or not parameter.holds(chosen):
            yield from self._combine(choices_of, chosen, params, index + 1)
            return
        for value in choices_of(parameter):
            now, named = {parameter.target: value}, {parameter.name: value}
            yield from self._combine(choices_of, chosen | now, params | named, index + 1)

    def corners(self) -> Iterator[tuple[Parameter | None, list[str]]]:
        """Overrides that together show whether the space fits the configuration.

        All combinations of what decides what else counts, with the first values of the rest; then
        each choice, and each end of a range, once, named by its parameter.

        Raises:
            UserError: naming a parameter that counts in none of them.
        """
        names = {p.condition[0] for p in self.parameters if p.condition}
        # What fits into one file of a group need not fit into another.
        names |= {p.target.partition(".")[0] for p in self.parameters if "." in p.target}

        def deciding(parameter: Parameter) -> Sequence[Value]:
            corners = self._corners_of(parameter)
            return corners if parameter.target in names else corners[:1]

        branches = list(itertools.islice(self._combine(deciding), _MAX_BRANCHES + 1))
        seen: set[tuple[str, Value]] = set()
        for params in branches[:_MAX_BRANCHES]:
            yield None, self.overrides(values_of(params))
            seen |= set(params.items())
        for parameter in self.parameters:
            where = [params for params in branches if parameter.name in params]
            if not where and len(branches) <= _MAX_BRANCHES:
                raise UserError(f"{parameter.name}: it never counts")
            for value in self._corners_of(parameter) if where else ():
                if (parameter.name, value) not in seen:
                    yield parameter, self.overrides(values_of({**where[0], parameter.name: value}))

    def _corners_of(self, parameter: Parameter) -> Sequence[Value]:
        """All values of a choice; of a range its ends, and those that conditions name."""
        values = parameter.values
        if not _is_number(parameter):
            return values
        named = [
            value
            for other in self.parameters
            if other.condition and other.condition[0] == parameter.target
            for value in other.condition[1]
            if value in values
        ]
        return list(dict.fromkeys([values[0], *named, values[-1]]))


def parse(sweep: Sweep, conf: Path = CONF) -> Space:
    """Read a search's `params`.

    Raises:
        UserError: naming the key, for what is no space, for a condition that never holds, and for
            what all trials must share.
    """
    source = f"{conf.name}/sweep: {sweep.name}"
    parameters: dict[str, list[Parameter]] = {}
    for key, given in sweep.params.items():
        _check_key(key, list(sweep.params), source, conf)
        several = isinstance(given, list) and any(isinstance(part, dict) for part in given)
        branches = given if several else [given]
        parameters[key] = [
            _parameter(key, branch, len(branches) > 1, source, conf) for branch in branches
        ]
    targets = {branches[0].target: branches for branches in parameters.values()}
    after: dict[str, list[str]] = {
        target: [p.condition[0] for p in branches if p.condition]
        for target, branches in targets.items()
    }
    for key, branches in parameters.items():
        for parameter in branches:
            _check_condition(key, parameter, targets, source)
    try:
        order = list(TopologicalSorter(after).static_order())
    except CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        raise UserError(f"{source}: conditions in a circle: {circle}") from None
    # In the order of the file, as far as conditions allow.
    space = Space([parameter for target in order for parameter in targets[target]])
    _check_seeds(space, sweep.replicates, source)
    return space


def without(sweep: Sweep, arguments: Sequence[str], conf: Path = CONF) -> Sweep:
    """A search without what is the same in all trials, where the command line sets it instead.

    Raises:
        UserError: when the command line sets what the search varies.
    """
    given = [config.key_of(argument) for argument in arguments]
    params = dict(sweep.params)
    for parameter in parse(sweep, conf).parameters:
        clash = [key for key in given if _sets(key, parameter.target, conf)]
        if parameter.target in clash and not (parameter.distribution or parameter.condition):
            del params[parameter.key]
        elif clash:
            raise UserError(f"{clash[0]} (the command line): the search sets {parameter.key}")
    if not params:
        raise UserError(f"{sweep.name}: the command line sets all that it has to try")
    return replace(sweep, params=params)


def check(space: Space, sweep: Sweep, base: list[str], conf: Path = CONF) -> None:
    """Compose the corners of a space on top of the base's overrides.

    Raises:
        UserError: naming the key and the value that give no valid configuration.
    """
    source = f"{conf.name}/sweep: {sweep.name}"
    shared = config.typed(config.compose(base, conf=conf))
    seed = None
    for parameter, overrides in space.corners():
        trial = " ".join(overrides)
        try:
            cfg = config.typed(config.compose(merge(base, overrides), conf=conf, source=source))
        except UserError as error:
            named = f"{parameter.key}: " if parameter else ""
            raise UserError(f"{named}no configuration with {trial}: {error}") from None
        where = f"{parameter.key if parameter else trial} ({source})"
        for key in _SHARED:
            if attrgetter(key)(cfg) != attrgetter(key)(shared):
                raise UserError(
                    f"{where}: changes {key}, which all trials share; set it on the command line"
                )
        seed = cfg.train.seed if seed is None else seed
        if cfg.train.seed != seed and not sweep.replicates:
            raise UserError(f"{where}: changes train.seed: {_NO_SEED}")


def merge(base: list[str], overrides: list[str]) -> list[str]:
    """A base's overrides, then a trial's; of a key that both name, the trial's."""
    given = {config.key_of(override) for override in overrides}
    return [*(o for o in base if config.key_of(o) not in given), *overrides]


def values_of(params: Params) -> Callable[[Parameter], Value]:
    """What `Space.overrides` asks for, where a trial's parameters are known."""
    return lambda parameter: params.get(parameter.name, parameter.values[0])


def _check_key(key: str, keys: list[str], source: str, conf: Path) -> None:
    target = key.lstrip("+")
    if target.startswith("~"):
        raise UserError(f"{key} ({source}): a search sets values, and removes none")
    if any(target == shared or target.startswith(f"{shared}.") for shared in (*_SHARED, "hydra")):
        raise UserError(f"{key} ({source}): all trials share it; set it on the command line")
    for other in keys:
        if other != key and _sets(other.lstrip("+"), target, conf):
            raise UserError(f"{key} ({source}): {other} sets it, too")


def _sets(key: str, other: str, conf: Path) -> bool:
    """Whether who sets a key sets another, too; who picks from a group may set values in it."""
    return other == key or (other.startswith(f"{key}.") and not (conf / key).is_dir())


_NO_SEED = (
    "a seed is no parameter to tune, the best one is luck; "
    "`replicates: true` marks a search over seeds"
)


def _check_seeds(space: Space, replicates: bool, source: str) -> None:
    for parameter in space.searched:
        if replicates and parameter.target != "train.seed":
            raise UserError(f"{parameter.key} ({source}): among replicates only train.seed varies")
        if not replicates and parameter.target == "train.seed":
            raise UserError(f"train.seed ({source}): {_NO_SEED}")


def _parse(key: str, given: Any, source: str) -> Override:
    # YAML may have it on several lines.
    text = " ".join(given.splitlines()) if isinstance(given, str) else config.to_grammar(given)
    [override] = config.parse([f"{key}={text}"], source)
    return override


def _parameter(key: str, given: Any, several: bool, source: str, conf: Path) -> Parameter:
    from optuna.distributions import CategoricalDistribution

    condition = None
    name = key
    if isinstance(given, dict):
        if set(given) != {"when", "space"}:
            raise UserError(
                f"{key} ({source}): a condition is written {{when: key=value, space: ...}}, "
                f"not with {', '.join(map(str, given))}"
            )
        [on] = config.parse([str(given["when"])], f"{key}, {source}")
        if not on.is_choice_sweep() and on.is_sweep_override():
            raise UserError(f"{key} ({source}): when {given['when']}: takes a value or a choice")
        condition = (on.key_or_group, [value for value, _ in _choices(on, conf)])
        name = f"{key} ({given['when']})" if several else key
        given = given["space"]
    elif several:
        raise UserError(f"{key} ({source}): each of several needs a `when` and a `space`")
    override = _parse(key, given, source)
    try:
        values, distribution = _range(override)
        texts: dict[Value, str] = {}
        if not values:
            choices = _choices(override, conf)
            values, texts = [value for value, _ in choices], dict(choices)
            if len(set(values)) < len(values):
                raise ValueError("a choice is there twice")
            distribution = CategoricalDistribution(values)
    except (ValueError, HydraException) as error:
        raise UserError(f"{key}={given} ({source}): {config.one_line(error)}") from None
    return Parameter(name, key, condition, values, distribution if len(values) > 1 else None, texts)


def _range(override: Override) -> tuple[Sequence[Value], "BaseDistribution | None"]:
    """The values and the distribution of a range or an interval; none of anything else.

    Raises:
        ValueError: when there is nothing in it, or no logarithm of it.
    """
    from optuna.distributions import FloatDistribution, IntDistribution

    given = override.value()
    if isinstance(given, IntervalSweep):
        low, high, log = given.start, given.end, "log" in given.tags
        assert low is not None
        assert high is not None
        if isinstance(low, int) and isinstance(high, int):
            return range(low, high + 1), IntDistribution(low, high, log=log)
        if low == high:
            raise ValueError("nothing lies between its two ends")
        return [low, high], FloatDistribution(low, high, log=log)
    if isinstance(given, RangeSweep):
        # Counted in decimals, as they are written: 0.1 + 2 * 0.1 is not 0.3.
        parts = (given.start, given.stop, given.step)
        first, stop, by = (Decimal(str(part)) for part in parts)
        count = math.ceil((stop - first) / by) if by else 0
        if count < 1:
            raise ValueError("an empty range: its end is not in it")
        least, most = sorted((first, first + (count - 1) * by))
        if all(isinstance(part, int) for part in parts):
            whole, log = range(int(least), int(most) + 1, abs(int(by))), "log" in given.tags
            return whole, IntDistribution(whole[0], whole[-1], log=log, step=whole.step)
        if "log" in given.tags:
            raise ValueError("no logarithm of a range in steps: use an interval")
        values = [float(least + i * abs(by)) for i in range(count)]
        return values, FloatDistribution(values[0], values[-1], step=float(abs(by)))
    return [], None


def _choices(override: Override, conf: Path) -> list[tuple[Value, str]]:
    """The values of a choice, or the one that is given, and their texts in Hydra's grammar.

    Optuna stores plain values only: of a list or a mapping it sees the text.
    """
    group = override.key_or_group
    is_group = (conf / group).is_dir()
    given = override.value()
    listed: Any = [given]
    if isinstance(given, ChoiceSweep):
        listed = given.list
    elif isinstance(given, Glob):
        listed = given.filter(config.options_of(group, conf))
        if not listed:
            raise ValueError("names no file of the group")
    result = []
    for part in listed:
        value: Any = Override._convert_value(part)
        text = str(value) if is_group and value is not None else config.to_grammar(value)
        result.append((text if isinstance(value, list | dict) else value, text))
    return result


def _check_condition(
    key: str, parameter: Parameter, parameters: dict[str, list[Parameter]], source: str
) -> None:
    if parameter.condition is None:
        return
    above, values = parameter.condition
    if above not in parameters:
        raise UserError(
            f"{key} ({source}): its condition is on {above!r}, which is no parameter of the search"
            f"{config.nearest(above, [name for name in parameters if name != key])}"
        )
    branches = parameters[above]
    for value in values:
        if not any(value in branch.values for branch in branches):
            possible = (str(v) for branch in branches for v in branch.values)
            raise UserError(
                f"{key} ({source}): {above} is never {value}"
                f"{config.nearest(str(value), list(itertools.islice(possible, 100)))}"
            )


def _is_number(parameter: Parameter) -> bool:
    from optuna.distributions import CategoricalDistribution

    return parameter.distribution is not None and not isinstance(
        parameter.distribution, CategoricalDistribution
    )
