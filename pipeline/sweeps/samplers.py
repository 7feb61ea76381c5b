"""The sampler and the pruner of a sweep. Each trial gets new ones."""

import hashlib
import warnings
from typing import Any

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, GridSampler, QMCSampler, RandomSampler

from pipeline.config.instantiation import instantiate_section
from pipeline.config.schema import Sweep
from pipeline.system.errors import UserError


def make_strategy(sweep: Sweep, number: int) -> tuple[BaseSampler, BasePruner]:
    """Make the sampler and the pruner for trial `number`.

    The sampler has a different seed for each trial. With one seed for all trials, a resumed sweep
    or a second worker would draw the same numbers again.

    Raises:
        UserError: when the sampler or the pruner cannot be made.
    """
    sampler = _make("sampler", _reseed(sweep.sampler, number), BaseSampler)
    return sampler, _make("pruner", sweep.pruner, BasePruner)


def random_sampler(sweep: Sweep, number: int) -> RandomSampler:
    """A random sampler with the seed for trial `number`."""
    return RandomSampler(_seed(sweep.sampler, number))


def _reseed(section: dict[str, Any], number: int) -> dict[str, Any]:
    """A sampler's settings, also those of nested samplers, with the seed for trial `number`."""
    settings = {k: _reseed(v, number) if isinstance(v, dict) else v for k, v in section.items()}
    kind = str(section.get("_target_", "")).rpartition(".")[2]
    # QMCSampler and GridSampler continue a sequence that they store in the study, so they must keep
    # one seed.
    if kind == QMCSampler.__name__:
        # Samples the parameters that only some trials have.
        random = {"_target_": "optuna.samplers.RandomSampler", "seed": _seed(section, number)}
        return {"independent_sampler": random, "warn_independent_sampling": False, **settings}
    if "seed" in section and kind != GridSampler.__name__:
        settings["seed"] = _seed(section, number)
    return settings


def _seed(section: dict[str, Any], number: int) -> int:
    text = f"{section.get('seed', 0)} {number}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])


def _make(name: str, section: dict[str, Any], kind: type[Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        made = instantiate_section(f"sweep.{name}", section)
    if not isinstance(made, kind):
        raise UserError(f"sweep.{name}: {section['_target_']} is not an Optuna {name}")
    return made
