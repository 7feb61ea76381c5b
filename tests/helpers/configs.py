"""Configurations and histories for tests."""

from collections.abc import Callable
from typing import Any, TypeVar

from pipeline.config.schema import Config
from pipeline.config.types import Section
from pipeline.training.history import Row

MakeConfig = Callable[..., Config]
S = TypeVar("S", bound=Section)


def changed(section: S, **values: Any) -> S:
    """A copy of a section with other values."""
    return section.model_copy(update=values)


def without_speed(history: list[Row]) -> list[Row]:
    """A history without the speed, which differs from run to run."""
    return [{k: v for k, v in row.items() if k != "images_per_second"} for row in history]
