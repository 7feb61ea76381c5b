"""A class that a `_target_` may name, because it is in a module outside of pipeline/."""

from dataclasses import dataclass
from typing import Any


@dataclass
class Pair:
    left: Any
    right: Any = None

    def __post_init__(self) -> None:
        if self.left == "refused":
            raise ValueError("left is refused")
