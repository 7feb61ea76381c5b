"""Predicted probabilities and labels for tests."""

import numpy as np
from numpy.typing import NDArray

# Four images and three classes. The third prediction is wrong, with high confidence.
PROBABILITIES = np.array(
    [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.95, 0.05, 0.0], [0.2, 0.2, 0.6]], np.float32
)
LABELS = np.array([0, 1, 1, 2], np.uint8)


def random_predictions(
    seed: int, count: int, classes: int
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Random probabilities, shape (count, classes), and random labels."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(classes), count).astype(np.float32)
    return probabilities, rng.integers(0, classes, count).astype(np.uint8)
