"""The seeds of a training, derived from one number."""

from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True)
class Seeds:
    """Independent seeds derived from one (numpy's SeedSequence), each from 0 to 2**32 - 1."""

    init: int  # initial weights and dropout
    order: int  # order of the images in each epoch
    augment: int  # augmentation

    @classmethod
    def derive(cls, seed: int) -> Self:
        """Derive the three seeds from `train.seed`."""
        return cls(*map(int, np.random.SeedSequence(seed).generate_state(3)))
