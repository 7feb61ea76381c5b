"""The configuration of a training that takes a moment, and the weights that it gives."""

from typing import Any

import numpy as np

from pipeline.training.loop import Trained

TINY = (
    "model=mlp",
    "model.depth=1",
    "model.width=8",
    "model.dropout=0.3",
    "augment=shift",
    "train.epochs=2",
    "train.batch_size=32",
)
Weights = list[np.ndarray[Any, Any]]


def weights(trained: Trained) -> Weights:
    return trained.model.get_weights()


def equal_weights(one: Weights, two: Weights) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
