"""Configurations and histories for tests."""

from collections.abc import Callable, Sequence
from pathlib import Path
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


def write_params(folder: Path, text: str) -> Path:
    """Write a params.yaml into a folder."""
    path = folder / "params.yaml"
    path.write_text(text)
    return path


def assert_one_line(error: BaseException, parts: Sequence[str]) -> None:
    """Assert that an error's message is one line which contains all of `parts`."""
    message = str(error)
    assert [part for part in parts if part not in message] == [], message
    assert "\n" not in message
