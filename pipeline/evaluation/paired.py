"""Compare the answers of two models to the same images by McNemar's exact test (1947)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest


@dataclass(frozen=True)
class Paired:
    """How the answers of one model compare with those of another.

    Attributes:
        images: how many images both models answered.
        right: how many of them the first model answered right.
        won: how many the first model answered right and the other one wrong.
        lost: how many the first model answered wrong and the other one right.
    """

    images: int
    right: int
    won: int
    lost: int

    @property
    def p_value(self) -> float:
        """How likely a difference at least as large is if both models are equally good.

        Then each image on which only one model is right is won or lost like a fair coin. The test
        has two sides.
        """
        decided = self.won + self.lost
        return float(binomtest(self.won, decided).pvalue) if decided else 1.0

    @property
    def accuracy(self) -> float:
        """The share of images that the first model answered right."""
        return self.right / self.images

    @property
    def other_accuracy(self) -> float:
        """The share of images that the other model answered right."""
        return (self.right - self.won + self.lost) / self.images

    def is_better(self, level: float) -> bool:
        """Whether the first model is right more often, and a p-value below `level` says so."""
        return self.won > self.lost and self.p_value < level

    def __str__(self) -> str:
        return (
            f"accuracy {self.accuracy:.4f} against {self.other_accuracy:.4f} on {self.images} "
            f"validation images; {self.won} images won, {self.lost} lost; "
            f"p = {self.p_value:.2g} (McNemar's exact test)"
        )


def compare_answers(
    answers: NDArray[np.integer[Any]],
    others: NDArray[np.integer[Any]],
    labels: NDArray[np.uint8],
) -> Paired:
    """Compare the answers of two models.

    Args:
        answers: the classes that the first model answered, shape (N,).
        others: those that the other model answered, shape (N,).
        labels: the true classes, shape (N,).
    """
    right, other_right = answers == labels, others == labels
    return Paired(
        images=len(labels),
        right=int(right.sum()),
        won=int((right & ~other_right).sum()),
        lost=int((~right & other_right).sum()),
    )
