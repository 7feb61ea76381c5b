"""The parameters of a sweep, and the combinations of their values.

Some parameters count only under a condition, such as the depth of an MLP where `model` is `mlp`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from optuna import Trial
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from pipeline.config.overrides import to_grammar
from pipeline.system.errors import UserError

Value = None | bool | int | float | str
Params = dict[str, Value]  # by the names of parameters
MAX_COMBINATIONS = 10_000  # a larger space counts as infinite
_MAX_BRANCHES = 200  # combinations of conditions that are checked before the first trial


@dataclass(frozen=True)
class Parameter:
    """A key of the configuration with the values to try, under a condition or always.

    Attributes:
        name: what Optuna calls it: the key, with its condition if the key has several.
        key: of the configuration, or a config group; with a + if it is added to the configuration.
        condition: another parameter's target, and those of its values under which this one counts.
        values: those to try, in order; the two ends of an interval.
        distribution: for Optuna; None when there is only one value.
        texts: the values in Hydra's grammar, where that differs from what `to_grammar` makes.
    """

    name: str
    key: str
    condition: tuple[str, list[Value]] | None
    values: Sequence[Value]
    distribution: BaseDistribution | None
    texts: dict[Value, str]

    @property
    def target(self) -> str:
        """The key that it sets, without a +."""
        return self.key.lstrip("+")

    @property
    def is_finite(self) -> bool:
        """Whether it has finitely many values."""
        return not isinstance(self.distribution, FloatDistribution) or bool(self.distribution.step)

    @property
    def is_number(self) -> bool:
        """Whether it is a range or an interval, and not a choice."""
        return not isinstance(self.distribution, CategoricalDistribution | None)

    def holds(self, chosen: Params) -> bool:
        """Whether its condition holds, given the values of the keys before it."""
        if self.condition is None:
            return True
        key, values = self.condition
        return key in chosen and chosen[key] in values

    def suggest(self, trial: Trial) -> Value:
        """Let Optuna choose a value."""
        match self.distribution:
            case None:
                return self.values[0]
            case FloatDistribution(low=low, high=high, step=step, log=log):
                value = trial.suggest_float(self.name, low, high, step=step, log=log)
                # Optuna adds up the steps in binary, where 0.1 + 2 * 0.1 is not 0.3.
                steps = [v for v in self.values if isinstance(v, float)]
                return min(steps, key=lambda v: abs(v - value)) if step else value
            case IntDistribution(low=low, high=high, step=step, log=log):
                return trial.suggest_int(self.name, low, high, step=step, log=log)
            case _:
                return trial.suggest_categorical(self.name, self.values)

    def override(self, value: Value) -> str:
        """`key=value` in Hydra's grammar."""
        return f"{self.key}={self.texts.get(value, to_grammar(value))}"


@dataclass(frozen=True)
class Space:
    """The parameters of a sweep, each after the one that its condition names."""

    parameters: list[Parameter]

    def overrides(self, value_of: Callable[[Parameter], Value]) -> list[str]:
        """The overrides for a choice of values.

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
        """All combinations of values; None when there are more than MAX_COMBINATIONS."""
        if not all(parameter.is_finite for parameter in self.parameters):
            return None
        found = self._combine(lambda parameter: parameter.values, MAX_COMBINATIONS)
        if len(found) > MAX_COMBINATIONS:
            return None
        searched = {parameter.name for parameter in self.searched}
        return [{name: params[name] for name in params if name in searched} for params in found]

    def branches(self) -> list[Params]:
        """All combinations of the values that decide which other parameters count.

        The other parameters have their first value. At most one more than _MAX_BRANCHES are given.
        """
        deciding = {p.condition[0] for p in self.parameters if p.condition}
        # A value that fits one file of a group may not fit another file of it.
        deciding |= {p.target.partition(".")[0] for p in self.parameters if "." in p.target}

        def values_to_try(parameter: Parameter) -> Sequence[Value]:
            values = self._boundaries_of(parameter)
            return values if parameter.target in deciding else values[:1]

        return self._combine(values_to_try, _MAX_BRANCHES)

    def boundary_configs(self) -> Iterator[tuple[Parameter | None, list[str]]]:
        """The overrides that together show whether the space fits the configuration.

        First each of `branches`, without a parameter. Then each choice, and each end of a range,
        once, with its parameter.

        Raises:
            UserError: naming a parameter whose condition never holds.
        """
        branches = self.branches()
        seen: set[tuple[str, Value]] = set()
        for params in branches[:_MAX_BRANCHES]:
            yield None, self.overrides(values_of(params))
            seen |= set(params.items())
        for parameter in self.parameters:
            branch = next((params for params in branches if parameter.name in params), None)
            if branch is None:
                if len(branches) <= _MAX_BRANCHES:
                    raise UserError(f"{parameter.name}: its condition never holds")
                continue
            for value in self._boundaries_of(parameter):
                if (parameter.name, value) not in seen:
                    yield parameter, self.overrides(values_of({**branch, parameter.name: value}))

    def _combine(
        self, values_to_try: Callable[[Parameter], Sequence[Value]], limit: int
    ) -> list[Params]:
        """All combinations of some values of each parameter, up to one more than a limit."""
        combined: list[tuple[Params, Params]] = [({}, {})]  # by target and by name
        for parameter in self.parameters:
            extended: list[tuple[Params, Params]] = []
            for chosen, params in combined:
                if parameter.target in chosen or not parameter.holds(chosen):
                    extended.append((chosen, params))
                    continue
                extended += [
                    ({**chosen, parameter.target: value}, {**params, parameter.name: value})
                    for value in islice(values_to_try(parameter), limit + 1)
                ]
            combined = extended[: limit + 1]  # each of these leads to one combination or more
        return [params for _, params in combined]

    def _boundaries_of(self, parameter: Parameter) -> Sequence[Value]:
        """All values of a choice; the ends of a range, and its values that conditions name."""
        values = parameter.values
        if not parameter.is_number:
            return values
        named = [
            value
            for other in self.parameters
            if other.condition and other.condition[0] == parameter.target
            for value in other.condition[1]
            if value in values
        ]
        return list(dict.fromkeys([values[0], *named, values[-1]]))


def values_of(params: Params) -> Callable[[Parameter], Value]:
    """The argument of `Space.overrides` for parameters that are known."""
    return lambda parameter: params.get(parameter.name, parameter.values[0])
