"""The training loop: build the network, resume or start, fit, keep the best epoch."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from pipeline.artifacts.keras_file import check_savable
from pipeline.config.instantiation import instantiate_section
from pipeline.config.schema import Config
from pipeline.data.batches import Epoch
from pipeline.data.splits import load_split, load_stats
from pipeline.system.errors import UserError, one_line
from pipeline.system.seeds import Seeds
from pipeline.training.callbacks import (
    OnEpoch,
    Progress,
    ProgressBar,
    RecordHistory,
    ReportEpoch,
    SaveCheckpoint,
)
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.history import Row, best_epoch
from pipeline.training.optimizer import assign, make_optimizer, warm_start
from pipeline.training.steps import Steps, Trainer


@dataclass(frozen=True)
class Trained:
    """A network with the weights of its best epoch, and the metrics of each epoch."""

    model: keras.Model
    history: list[Row]

    @property
    def best(self) -> Row:
        """The epoch whose weights the model has."""
        return best_epoch(self.history)

    def metrics(self) -> dict[str, float]:
        """The content of models/metrics.json. All other metrics are in the history."""
        return {
            "best_epoch": self.best["epoch"],
            "val_loss": self.best["val_loss"],
            "val_accuracy": self.best["val_accuracy"],
        }


def train(
    cfg: Config,
    prepared: Path,
    on_epoch: OnEpoch = lambda epoch, row: None,
    checkpoints: Checkpoints | None = None,
    init: Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Trained:
    """Train the configured network on the training images.

    Args:
        cfg: the configuration; `model`, `augment`, `optimizer`, `schedule` and `train` are used.
        prepared: folder of the prepared data.
        on_epoch: called after each epoch with its number, from 1, and its metrics. A resumed
            training also calls it for the earlier epochs.
        checkpoints: the checkpoints to resume from and to save to. However often the training is
            interrupted, the result has the same bytes.
        init: a .keras file of the same network. Training starts from its weights. Epochs and
            schedule start at the beginning. Without a schedule, the optimizer keeps its state.
        callbacks: more Keras callbacks. What they add to the metrics of an epoch is recorded.

    Raises:
        UserError: when the model cannot be built, `init` does not fit the model, the memory is not
            enough, or the loss is not finite (the message names the step).
    """
    try:
        return _train(cfg, prepared, on_epoch, checkpoints, init, callbacks)
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise UserError(
            "the memory is not enough: choose a smaller `model` or train.batch_size "
            f"({one_line(error)[:200]})"
        ) from None


def _train(
    cfg: Config,
    prepared: Path,
    on_epoch: OnEpoch,
    checkpoints: Checkpoints | None,
    init: Path | None,
    callbacks: Sequence[keras.callbacks.Callback],
) -> Trained:
    stats = load_stats(prepared)
    keras.utils.clear_session()  # Keras numbers layer names within a process: start again at 0
    keras.utils.set_random_seed(Seeds.derive(cfg.train.seed).init)
    model = instantiate_section(
        "model",
        cfg.model,
        image_shape=(stats["height"], stats["width"]),
        num_classes=stats["num_classes"],
    )
    model.compile(
        optimizer=make_optimizer(cfg, _steps_per_epoch(cfg, prepared) * cfg.train.epochs),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    check_savable(model)
    model.optimizer.build(model.trainable_variables)
    progress = Progress(cfg.train)
    if checkpoints and _resume(model, progress, checkpoints):
        for row in progress.history:
            on_epoch(int(row["epoch"]), row)
        print(f"resumed after epoch {len(progress.history)}")
    elif init:
        warm_start(model, init, restart=bool(cfg.schedule))
    if not progress.done:
        _fit(model, cfg, prepared, progress, on_epoch, checkpoints, callbacks)
    model.set_weights(progress.best_weights)
    return Trained(model, progress.history)


def _resume(model: keras.Model, progress: Progress, checkpoints: Checkpoints) -> bool:
    """Restore the newest checkpoint. Return whether there was one.

    Raises:
        UserError: when it is not of this network, although its folder has the right name.
    """
    state = checkpoints.load()
    if state is None:
        return False
    try:
        assign(model.variables, state.variables)
        assign(model.optimizer.variables, state.optimizer)
    except ValueError:
        raise UserError(
            f"{checkpoints.folder} has checkpoints of another network: remove this folder"
        ) from None
    progress.history, progress.best_weights = state.history, state.best
    return True


def _steps_per_epoch(cfg: Config, prepared: Path) -> int:
    """Training steps in an epoch; the last one may have fewer images."""
    return math.ceil(load_stats(prepared)["images"]["train"] / cfg.train.batch_size)


def _fit(
    model: keras.Model,
    cfg: Config,
    prepared: Path,
    progress: Progress,
    on_epoch: OnEpoch,
    checkpoints: Checkpoints | None,
    callbacks: Sequence[keras.callbacks.Callback],
) -> None:
    """Run the remaining epochs."""
    training = load_split(prepared, "train")
    validation = load_split(prepared, "validation")
    augment = instantiate_section("augment", cfg.augment) if cfg.augment else None
    draws = augment.draws if augment else 0
    trainer = Trainer(model, cfg.train.batch_size, cfg.train.label_smoothing, augment)
    seeds = Seeds.derive(cfg.train.seed)
    first_epoch = len(progress.history)
    recorder = RecordHistory(progress, len(training.labels))
    bar = ProgressBar(recorder, cfg.train.epochs, first_epoch, _steps_per_epoch(cfg, prepared))
    watched = keras.callbacks.CallbackList(
        # The recorder comes before the callbacks that read what it records.
        [
            *callbacks,
            recorder,
            *([SaveCheckpoint(progress, checkpoints)] if checkpoints else []),
            bar,
            ReportEpoch(progress, on_epoch),
        ],
        model=model,
    )
    try:
        watched.on_train_begin()
        while not progress.done:
            number = len(progress.history)
            images = Epoch(training, number, seeds.order, seeds.augment, draws)
            watched.on_epoch_begin(number)
            logs = _epoch(trainer.epoch(images), number, watched)
            watched.on_test_begin()
            logs["val_loss"], logs["val_accuracy"] = trainer.validate(validation)
            watched.on_test_end()
            watched.on_epoch_end(number, logs)
        watched.on_train_end()
    finally:
        bar.close()


def _epoch(
    parts: Iterable[Steps], number: int, callbacks: keras.callbacks.CallbackList
) -> dict[str, float]:
    """Train for one epoch. Return the mean loss and accuracy of its images, as they were learnt.

    Raises:
        UserError: when the loss of a step is not finite.
    """
    steps = images = correct = 0
    total = np.float64(0)
    for part in parts:
        finite = np.isfinite(part.losses)
        if not finite.all():
            first = int(finite.argmin())
            raise UserError(
                f"the loss is {part.losses[first]} at step {steps + first + 1} of epoch "
                f"{number + 1}: try a lower optimizer.learning_rate"
            )
        steps += len(part.losses)
        images += int(part.sizes.sum())
        correct += part.correct
        # One step after the other, so that the rounding does not depend on the size of the parts.
        total = np.add.accumulate([total, *(part.losses.astype(np.float64) * part.sizes)])[-1]
        logs = {"loss": float(total / images), "accuracy": correct / images}
        callbacks.on_train_batch_end(steps - 1, logs)
    return logs
