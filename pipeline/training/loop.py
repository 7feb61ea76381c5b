"""The training loop: build the network, resume or start, fit, keep the best epoch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

from pipeline.artifacts.keras_file import check_savable
from pipeline.config.instantiation import instantiate_section
from pipeline.config.schema import Config
from pipeline.data.batches import eval_batches, train_batches
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
    StopOnNonFinite,
)
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.history import Row, best_epoch
from pipeline.training.optimizer import assign, make_optimizer, warm_start


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
            schedule start at the beginning; the state of an optimizer of the same kind is kept.
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
    seeds = Seeds.derive(cfg.train.seed)
    first_epoch = len(progress.history)
    steps_per_epoch = _steps_per_epoch(cfg, prepared)
    recorder = RecordHistory(progress, len(training.labels))
    bar = ProgressBar(recorder, cfg.train.epochs, first_epoch, steps_per_epoch)
    try:
        model.fit(
            train_batches(
                training,
                cfg.train.batch_size,
                cfg.train.epochs,
                seeds.order,
                seeds.augment,
                instantiate_section("augment", cfg.augment) if cfg.augment else None,
                first_epoch,
            ),
            initial_epoch=first_epoch,
            epochs=cfg.train.epochs,
            steps_per_epoch=steps_per_epoch,
            shuffle=False,  # the batches are shuffled already
            validation_data=eval_batches(validation),
            verbose=0,
            # The recorder comes before the callbacks that read what it records.
            callbacks=[
                StopOnNonFinite(progress),
                *callbacks,
                recorder,
                *([SaveCheckpoint(progress, checkpoints)] if checkpoints else []),
                bar,
                ReportEpoch(progress, on_epoch),
            ],
        )
    finally:
        bar.close()
