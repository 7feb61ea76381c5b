"""The images of one epoch, in a random order that can be repeated."""

import numpy as np
from numpy.typing import NDArray

from pipeline.data.splits import Split

# Images uint8 (N, height, width), labels int32 (N,), and random numbers float32 (N, `draws`).
Batch = tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.float32]]


class Epoch:
    """Every image of a split once, in a new order, with random numbers for its augmentation.

    The order and the random numbers depend only on the seeds and the number of the epoch. So a
    resumed training sees the same images as an uninterrupted one. They come from the Philox
    generator (Salmon et al., 2011), which gives an independent stream for each key.

    Only the images that are taken are read. So a split may be larger than the memory.
    """

    def __init__(
        self, split: Split, number: int, order_seed: int, augment_seed: int, draws: int
    ) -> None:
        """Draw the order.

        Args:
            split: the images and labels.
            number: the number of the epoch.
            order_seed, augment_seed: the seeds of order and augmentation, from 0 to 2**32 - 1.
            draws: random numbers for each image, from 0 to 1.
        """
        self._split = split
        self._order = _generator(order_seed, number).permutation(len(split.labels))
        self._draws = draws
        self._generator = _generator(augment_seed, number)
        self._taken = 0

    def take(self, count: int) -> Batch:
        """The next `count` images; fewer at the end of the epoch, and at last none."""
        chosen = self._order[self._taken : self._taken + count]
        self._taken += len(chosen)
        return (
            self._split.images[chosen],
            self._split.labels[chosen].astype(np.int32),
            self._generator.random((len(chosen), self._draws), np.float32),
        )


def _generator(seed: int, number: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=np.array([seed, number], np.uint64)))
