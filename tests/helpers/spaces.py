"""Sweeps with the parameters that a test wants, and their spaces."""

from collections.abc import Mapping
from typing import Any

from pipeline.config.composition import compose_sweep
from pipeline.config.schema import Sweep
from pipeline.sweeps.parsing import parse_space
from pipeline.sweeps.preflight import check_space
from pipeline.sweeps.space import Space, values_of
from tests.helpers.configs import changed

BASE = ["data=mnist_sample", "model=mlp"]


def sweep_with(params: Mapping[str, Any], **changes: Any) -> Sweep:
    """The default sweep with other parameters."""
    return changed(compose_sweep().sweep, params=dict(params), **changes)


def checked_space(params: Mapping[str, Any], **changes: Any) -> Space:
    """Parse a space and check its boundary values, as is done before the first trial."""
    sweep = sweep_with(params, **changes)
    space = parse_space(sweep)
    check_space(space, sweep, BASE)
    return space


def all_overrides(space: Space) -> list[list[str]]:
    """The overrides of every combination of a finite space."""
    assert space.combinations is not None
    return [space.overrides(values_of(params)) for params in space.combinations]
