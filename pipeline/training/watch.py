"""Keras callbacks that look at the network after each epoch. They change no result."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipeline.data.splits import Split
from pipeline.evaluation.corruptions import robust_accuracies
from pipeline.evaluation.network import layers_of
from pipeline.training.history import ROBUST

_WATCHED = 500  # validation images
_COLUMNS, _ROWS = 8, 4
_CELL, _CAPTION = 56, 14  # pixels

LogImage = Callable[[int, Image.Image], None]  # called with the number of the epoch, from 1


class MeasureRobustness(keras.callbacks.Callback):
    """Add the mean accuracy on corrupted validation images to the metrics of each epoch."""

    def __init__(self, validation: Split) -> None:
        super().__init__()
        self.images = np.asarray(validation.images[:_WATCHED])
        self.labels = np.asarray(validation.labels[:_WATCHED])

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        accuracies = robust_accuracies(self._answer, self.images, self.labels)
        logs[ROBUST] = sum(accuracies.values()) / len(accuracies)

    def _answer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(self.model(images, training=False))


class PrintNetwork(keras.callbacks.Callback):
    """Print the layers before the training."""

    def on_train_begin(self, logs: Any = None) -> None:
        layers = layers_of(self.model)
        width = max(len(layer.name) for layer in layers)
        for layer in layers:
            weights = f"{layer.parameters:>11,}" if layer.parameters else ""
            print(f"  {layer.name:<{width}}  {layer.shape:<12}{weights}".rstrip())
        print(f"{sum(layer.parameters for layer in layers):,} weights and biases", flush=True)


class ShowMistakes(keras.callbacks.Callback):
    """Draw which of some validation images are misread after each epoch."""

    def __init__(self, validation: Split, log: LogImage) -> None:
        super().__init__()
        self.images = np.asarray(validation.images[:_WATCHED])
        self.labels = np.asarray(validation.labels[:_WATCHED])
        self.log = log

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        answers = np.asarray(self.model(self.images, training=False)).argmax(1)
        self.log(epoch + 1, draw_mistakes(self.images, self.labels, answers))


def draw_mistakes(
    images: NDArray[np.uint8], labels: NDArray[np.uint8], answers: NDArray[np.int64]
) -> Image.Image:
    """A grid of the images that are misread, each with its true class and the answer.

    Args:
        images: uint8 of shape (N, height, width).
        labels: the true classes, shape (N,).
        answers: the answers, shape (N,).
    """
    wrong = np.flatnonzero(answers != labels)
    height = _CELL + _CAPTION
    grid = Image.new("L", (_COLUMNS * _CELL, _ROWS * height + _CAPTION), 255)
    pen = ImageDraw.Draw(grid)
    pen.text((2, 1), f"{len(wrong)} of {len(labels)} validation images are misread", fill=0)
    for place, i in enumerate(wrong[: _COLUMNS * _ROWS]):
        row, column = divmod(place, _COLUMNS)
        left, top = column * _CELL, _CAPTION + row * height
        cell = Image.fromarray(255 - images[i]).resize((_CELL, _CELL))
        grid.paste(cell, (left, top))
        pen.text((left + 2, top + _CELL), f"{labels[i]} as {answers[i]}", fill=0)
    return grid
