"""The parameters of a sweep, and the combinations of their values.

A parameter may have a condition. For example, the depth of an MLP applies only if `model` is `mlp`.
"""

import math
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
SEED = "train.seed"  # the parameter that replicates vary
MAX_COMBINATIONS = 10_000  # a larger space is treated as infinite
_MAX_CHOICES = 20  # of numbers, to compose each; one takes 15 ms
_MAX_BRANCHES = 200  # combinations of conditions that are checked before the first trial


@dataclass(frozen=True)
class Parameter:
    """A key of the configuration, the values to try, and the condition under which it applies.

    Attributes:
        name: the name in Optuna: the key, with its condition if the key has several branches.
        key: a key of the configuration, or a config group. It starts with + if the sweep adds it.
        condition: another parameter's target, and the values of it for which this parameter
            applies; None if it always applies.
        values: the values to try, in order; for an interval, its two ends.
        distribution: Optuna's distribution; None if there is only one value.
        texts: values in Hydra's grammar, where they differ from the result of `to_grammar`.
    """

    name: str
    key: str
    condition: tuple[str, list[Value]] | None
    values: Sequence[Value]
    distribution: BaseDistribution | None
    texts: dict[Value, str]

    @property
    def target(self) -> str:
        """The key that the parameter sets, without a +."""
        return self.key.lstrip("+")

    @property
    def is_finite(self) -> bool:
        """Whether it has finitely many values."""
        return not isinstance(self.distribution, FloatDistribution) or bool(self.distribution.step)

    @property
    def is_number(self) -> bool:
        """Whether it is a range or an interval, not a choice."""
        return not isinstance(self.distribution, CategoricalDistribution | None)

    @property
    def is_logarithmic(self) -> bool:
        """Whether the sampler draws its logarithm evenly."""
        return bool(getattr(self.distribution, "log", False))

    def holds(self, chosen: Params) -> bool:
        """Whether the condition holds, given the values chosen so far, by target."""
        if self.condition is None:
            return True
        key, values = self.condition
        return key in chosen and chosen[key] in values

    def find(self, value: Value) -> Sequence[Value]:
        """The value to try that equals a value of a configuration; [] if none does."""
        if not isinstance(self.distribution, FloatDistribution):
            if isinstance(self.values, range):  # it may be too long to walk through
                return [value] if type(value) is int and value in self.values else []
            return [v for v in self.values if v == value and type(v) is type(value)][:1]
        if isinstance(value, bool) or not isinstance(value, int | float):
            return []
        if self.distribution.step:
            steps = [v for v in self.values if isinstance(v, float)]
            return [v for v in steps if math.isclose(v, value, rel_tol=1e-9)][:1]
        low, high = self.distribution.low, self.distribution.high
        return [float(value)] if low <= value <= high else []

    def suggest(self, trial: Trial) -> Value:
        """Let Optuna choose a value."""
        match self.distribution:
            case None:
                return self.values[0]
            case FloatDistribution(low=low, high=high, step=step, log=log):
                value = trial.suggest_float(self.name, low, high, step=step, log=log)
                # Optuna adds steps as binary floats, where 0.1 + 2 * 0.1 is not 0.3.
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
    """The parameters of a sweep. Each comes after the one that its condition names."""

    parameters: list[Parameter]

    def overrides(self, value_of: Callable[[Parameter], Value]) -> list[str]:
        """The overrides for one combination of values.

        Args:
            value_of: returns the value of a parameter; called if the parameter's condition holds.
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
        """All combinations of values; None if there are more than MAX_COMBINATIONS."""
        if not all(parameter.is_finite for parameter in self.parameters):
            return None
        found = self._combine(lambda parameter: parameter.values, MAX_COMBINATIONS)
        if len(found) > MAX_COMBINATIONS:
            return None
        searched = {parameter.name for parameter in self.searched}
        return [{name: params[name] for name in params if name in searched} for params in found]

    def branches(self) -> list[Params]:
        """All combinations of the values that decide which other parameters apply.

        The other parameters have their first value. The list has at most _MAX_BRANCHES + 1 items.
        """
        deciding = {p.condition[0] for p in self.parameters if p.condition}
        # A value that is valid with one file of a group may be invalid with another file.
        deciding |= {p.target.partition(".")[0] for p in self.parameters if "." in p.target}

        def values_to_try(parameter: Parameter) -> Sequence[Value]:
            values = self._boundaries_of(parameter)
            return values if parameter.target in deciding else values[:1]

        return self._combine(values_to_try, _MAX_BRANCHES)

    def boundary_configs(self) -> Iterator[tuple[Parameter | None, list[str]]]:
        """Overrides to compose, which together show whether the space is valid.

        Yields:
            First the overrides of each of `branches`, with None. Then the overrides for each choice
            and each end of a range that the branches did not have, with its parameter. Of many
            numbers to choose from, only the least and the greatest are tried.

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
        """All combinations of the values to try of each parameter; at most `limit` + 1 of them."""
        combined: list[tuple[Params, Params]] = [({}, {})]  # values by target, values by name
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
            combined = extended[: limit + 1]  # each of these gives one combination or more
        return [params for _, params in combined]

    def _boundaries_of(self, parameter: Parameter) -> Sequence[Value]:
        """All values of a choice, or the ends of a range and those values that conditions name.

        A choice of many numbers is tried like a range, each type for itself.
        """
        values = parameter.values
        ends = [values[0], values[-1]]
        if not parameter.is_number:
            if len(values) <= _MAX_CHOICES or not all(map(_is_finite_number, values)):
                return values
            kinds = [[v for v in values if type(v) is kind] for kind in (int, float)]
            ends = [end for kind in kinds if kind for end in (min(kind), max(kind))]
        named = [
            value
            for other in self.parameters
            if other.condition and other.condition[0] == parameter.target
            for value in other.condition[1]
            if value in values
        ]
        return list(dict.fromkeys([ends[0], *named, *ends[1:]]))


def _is_finite_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def values_of(params: Params) -> Callable[[Parameter], Value]:
    """The argument of `Space.overrides` for known parameters; others have their first value."""
    return lambda parameter: params.get(parameter.name, parameter.values[0])
