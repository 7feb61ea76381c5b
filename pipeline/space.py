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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    IntervalSweep,
    Override,
    RangeSweep,
)

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


@dataclass(frozen=True)
class Parameter:
    """A key of the configuration with the values to try, under a condition or always.

    Attributes:
        name: what Optuna calls it: the key, and its condition where the key has several.
        key: of the configuration, or a config group.
        condition: another key, and the values of it under which this one counts.
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
                return trial.suggest_float(self.name, low, high, step=step, log=log)
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
            if parameter.key not in chosen and parameter.holds(chosen):
                value = chosen[parameter.key] = value_of(parameter)
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
        found = list(itertools.islice(self._combine(0, {}, {}), MAX_COMBINATIONS + 1))
        return found if len(found) <= MAX_COMBINATIONS else None

    def _combine(self, index: int, chosen: Params, params: Params) -> Iterator[Params]:
        if index == len(self.parameters):
            yield params
            return
        parameter = self.parameters[index]
        if parameter.key in chosen or not parameter.holds(chosen):
            yield from self._combine(index + 1, chosen, params)
            return
        for value in parameter.values:
            named = {parameter.name: value} if parameter.distribution else {}
            yield from self._combine(index + 1, {**chosen, parameter.key: value}, params | named)

    def corners(self) -> Iterator[tuple[Parameter, list[str]]]:
        """Overrides of each choice, and of each end of a range, where it counts.

        The other parameters have their first values.
        """
        for parameter in self.parameters:
            values = parameter.values
            for value in (values[0], values[-1]) if _is_number(parameter) else values:
                forced = {parameter.name: value, **self._conditions_of(parameter)}
                yield parameter, self.overrides(values_of(forced))

    def _conditions_of(self, parameter: Parameter) -> Params:
        """Values of other parameters under which one counts."""
        forced: Params = {}
        while parameter.condition is not None:
            key, values = parameter.condition
            above = [p for p in self.parameters if p.key == key]
            parameter, value = next((p, v) for v in values for p in above if v in p.values)
            forced[parameter.name] = value
        return forced


def parse(sweep: Sweep, conf: Path = CONF) -> Space:
    """Read a search's `params`.

    Raises:
        UserError: naming the key, for what is no space, for a condition that never holds, and for
            what all trials must share.
    """
    source = f"{conf.name}/sweep: {sweep.name}"
    parameters: dict[str, list[Parameter]] = {}
    for key, given in sweep.params.items():
        _check_key(key, source)
        several = isinstance(given, list) and any(isinstance(part, dict) for part in given)
        branches = given if several else [given]
        parameters[key] = [
            _parameter(key, branch, len(branches) > 1, source, conf) for branch in branches
        ]
    after: dict[str, list[str]] = {
        key: [p.condition[0] for p in branches if p.condition]
        for key, branches in parameters.items()
    }
    for key, branches in parameters.items():
        for parameter in branches:
            _check_condition(key, parameter, parameters, source)
    try:
        order = list(TopologicalSorter(after).static_order())
    except CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        raise UserError(f"{source}: conditions in a circle: {circle}") from None
    # In the order of the file, as far as conditions allow.
    space = Space([parameter for key in order for parameter in parameters[key]])
    _check_seeds(space, sweep.replicates, source)
    return space


def check(space: Space, sweep: Sweep, base: list[str], conf: Path = CONF) -> None:
    """Compose the corners of a space on top of the base's overrides.

    Raises:
        UserError: naming the key and the value that give no valid configuration.
    """
    source = f"{conf.name}/sweep: {sweep.name}"
    shared = config.typed(config.compose(base, conf=conf))
    for parameter, overrides in space.corners():
        try:
            cfg = config.typed(config.compose(merge(base, overrides), conf=conf, source=source))
        except UserError as error:
            trial = " ".join(overrides)
            raise UserError(f"{parameter.key}: no configuration with {trial}: {error}") from None
        for section in ("data", "prepare"):
            if getattr(cfg, section) != getattr(shared, section):
                raise UserError(
                    f"{parameter.key} ({source}): changes {section}, which all trials share; "
                    f"set it on the command line"
                )


def merge(base: list[str], overrides: list[str]) -> list[str]:
    """A base's overrides, then a trial's; of a key that both name, the trial's."""
    given = {override.split("=")[0] for override in overrides}
    return [*(o for o in base if o.split("=")[0] not in given), *overrides]


def values_of(params: Params) -> Callable[[Parameter], Value]:
    """What `Space.overrides` asks for, where a trial's parameters are known."""
    return lambda parameter: params.get(parameter.name, parameter.values[0])


def _check_key(key: str, source: str) -> None:
    if any(key == shared or key.startswith(f"{shared}.") for shared in _SHARED):
        raise UserError(f"{key} ({source}): all trials share it; set it on the command line")


def _check_seeds(space: Space, replicates: bool, source: str) -> None:
    for parameter in space.searched:
        if replicates and parameter.key != "train.seed":
            raise UserError(f"{parameter.key} ({source}): among replicates only train.seed varies")
        if not replicates and parameter.key == "train.seed":
            raise UserError(
                f"train.seed ({source}): a seed is no parameter to tune, the best one is luck; "
                "`replicates: true` marks a search over seeds"
            )


def _parse(key: str, given: Any, source: str) -> Override:
    text = given if isinstance(given, str) else config.to_grammar(given)
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
    except ValueError as error:
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
        log, step = "log" in given.tags, abs(given.step)
        values: Any = given.range()
        values = values if isinstance(values, range) else sorted(values)
        if not values:
            raise ValueError("an empty range: its end is not in it")
        if isinstance(values, range):
            values = values if values[0] <= values[-1] else values[::-1]
            return values, IntDistribution(values[0], values[-1], log=log, step=int(step))
        if log:
            raise ValueError("no logarithm of a range in steps: use an interval")
        # As Optuna counts the steps, so that a value is the same number wherever it is from.
        values = [values[0] + i * step for i in range(len(values))]
        return values, FloatDistribution(values[0], values[-1], step=step)
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
        text = str(value) if is_group else config.to_grammar(value)
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
    possible = [value for branch in parameters[above] for value in branch.values]
    for value in values:
        if value not in possible:
            raise UserError(
                f"{key} ({source}): {above} is never {value}"
                f"{config.nearest(str(value), list(map(str, possible)))}"
            )


def _is_number(parameter: Parameter) -> bool:
    from optuna.distributions import CategoricalDistribution

    return parameter.distribution is not None and not isinstance(
        parameter.distribution, CategoricalDistribution
    )
