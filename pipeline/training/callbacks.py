"""The Keras callbacks of a training."""

import sys
import time
from collections.abc import Callable
from typing import Any

import keras
from keras.ops import convert_to_numpy
from tqdm import tqdm

from pipeline.config.schema import Train
from pipeline.system import cli
from pipeline.training.checkpoint import Checkpoints, State
from pipeline.training.history import Row, best_epoch

OnEpoch = Callable[[int, Row], None]  # called after each epoch with its number (from 1) and metrics


class Progress:
    """The history of a training, its best weights, and whether it is done."""

    def __init__(self, settings: Train) -> None:
        self.settings = settings
        self.history: list[Row] = []
        self.best_weights: list[Any] = []

    @property
    def done(self) -> bool:
        """Whether all epochs have run, or the last `patience` of them did not improve."""
        if not self.history:
            return False
        epochs = len(self.history)
        without_improvement = epochs - best_epoch(self.history)["epoch"]
        return epochs >= self.settings.epochs or without_improvement >= self.settings.patience


class RecordHistory(keras.callbacks.Callback):
    """Record each epoch, and keep the best weights."""

    def __init__(self, progress: Progress, images: int) -> None:
        super().__init__()
        self.progress = progress
        self.images = images  # in one epoch
        self.started = 0.0
        self.seconds = 0.0  # of the last epoch, without its validation

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.started = time.perf_counter()

    def on_test_begin(self, logs: Any = None) -> None:
        self.seconds = time.perf_counter() - self.started

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        row = {
            "epoch": epoch + 1,
            **logs,
            "learning_rate": float(convert_to_numpy(self.model.optimizer.learning_rate)),
            "images_per_second": self.images / self.seconds,
        }
        self.progress.history.append(row)
        if best_epoch(self.progress.history)["epoch"] == row["epoch"]:
            self.progress.best_weights = self.model.get_weights()


class SaveCheckpoint(keras.callbacks.Callback):
    """Save a checkpoint after each epoch."""

    def __init__(self, progress: Progress, checkpoints: Checkpoints) -> None:
        super().__init__()
        self.progress = progress
        self.checkpoints = checkpoints

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        state = State(
            self.progress.history,
            [convert_to_numpy(variable) for variable in self.model.variables],
            [convert_to_numpy(variable) for variable in self.model.optimizer.variables],
            self.progress.best_weights,
        )
        self.checkpoints.save(state, last=self.progress.done)


class ProgressBar(keras.callbacks.Callback):
    """Show a progress bar if there is a terminal, and always print a line for each epoch."""

    def __init__(
        self, recorder: RecordHistory, epochs: int, first_epoch: int, steps_per_epoch: int
    ) -> None:
        super().__init__()
        self.recorder = recorder  # it times the epochs
        self.epochs = epochs
        self.steps = 0  # in this epoch so far
        self.validation = ""  # the last epoch's validation accuracy, as text
        self.bar = tqdm(
            total=epochs * steps_per_epoch,
            initial=first_epoch * steps_per_epoch,
            disable=None,
            leave=False,
            dynamic_ncols=True,
            bar_format="{desc} {percentage:3.0f}% {bar} {remaining} left{postfix}",
        )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.steps = 0
        self.bar.set_description(f"epoch {epoch + 1}/{self.epochs}")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.bar.update(batch + 1 - self.steps)
        self.steps = batch + 1
        self.bar.set_postfix_str(
            f"loss {logs['loss']:.4f}, accuracy {logs['accuracy']:.4f}{self.validation}",
            refresh=False,
        )

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.validation = f", validation {logs['val_accuracy']:.4f}"
        self.bar.write(
            f"epoch {epoch + 1}/{self.epochs}: loss {logs['loss']:.4f}, accuracy "
            f"{logs['accuracy']:.4f}, validation loss {logs['val_loss']:.4f}, validation "
            f"accuracy {logs['val_accuracy']:.4f}, {self.recorder.seconds:.1f} s",
            file=sys.stdout,
        )

    def close(self) -> None:
        """Remove the bar from the terminal. This is also needed when the training fails."""
        self.bar.close()


class ReportEpoch(keras.callbacks.Callback):
    """Report each epoch to `on_epoch`, and raise held signals at safe points."""

    def __init__(self, progress: Progress, on_epoch: OnEpoch) -> None:
        super().__init__()
        self.progress = progress
        self.on_epoch = on_epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        cli.check_signals()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.on_epoch(epoch + 1, self.progress.history[-1])
        cli.check_signals()
