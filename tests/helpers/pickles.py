"""Pickles that run code when they are read."""

from pathlib import Path
from typing import Any


class Payload:
    """When its pickle is read, it creates a file."""

    def __init__(self, created: Path) -> None:
        self.created = created

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.created,)
