"""Train the network on the prepared data, choose its best epoch on the validation images."""

import csv
import io
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import address, archive, command, config, data
from pipeline.checkpoint import Checkpoints, State
from pipeline.command import UserError
from pipeline.files import remove_parts, sha256, write_json, write_text

if TYPE_CHECKING:
    import keras

HISTORY = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
OnEpoch = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class Seeds:
    """What one seed becomes: streams that have nothing in common (numpy's SeedSequence)."""

    init: int  # weights and dropout
    order: int  # of the images in each epoch
    augment: int

    @classmethod
    def derive(cls, seed: int) -> "Seeds":
        return cls(*map(int, np.random.SeedSequence(seed).generate_state(3)))


@dataclass(frozen=True)
class Trained:
    """A network with the weights of its best epoch, and what each epoch measured."""

    model: "keras.Model"
    history: list[dict[str, float]]

    @property
    def best(self) -> dict[str, float]:
        """The epoch of the lowest validation loss; its weights are the model's."""
        return min(self.history, key=lambda row: row["val_loss"])

    def metrics(self) -> dict[str, float]:
        """What `models/metrics.json` says of the model."""
        return {
            "epochs": len(self.history),
            "best_epoch": self.best["epoch"],
            "train_loss": self.best["loss"],
            "train_accuracy": self.best["accuracy"],
            "validation_loss": self.best["val_loss"],
            "validation_accuracy": self.best["val_accuracy"],
        }


def configure(threads: int | None) -> None:
    """Make TensorFlow deterministic and set its threads: once, before its first operation."""
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    count = threads or os.cpu_count() or 1
    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(count)


def train(
    cfg: config.Config,
    prepared: Path,
    on_epoch: OnEpoch = lambda epoch, row: None,
    checkpoints: Checkpoints | None = None,
    init: Path | None = None,
) -> Trained:
    """Train what the configuration says on the training images.

    Args:
        cfg: the whole configuration; `model`, `augment`, `optimizer`, `schedule`, `train` count.
        prepared: folder of the prepared data.
        on_epoch: called after each epoch with its number, from 1, and its measurements; when a
            training is resumed, also for the epochs that lie behind it.
        checkpoints: where to resume from, and to save to. What comes out is the same, to the byte,
            however often the training was stopped.
        init: a .keras file of the same network, to train on from. Epochs and schedule begin anew;
            the optimizer's state is kept where it is of the same kind.

    Raises:
        UserError: where the model cannot be built, `init` does not fit it, or a loss is not finite;
            names the step.
    """
    import keras

    stats = data.load_stats(prepared)
    training = data.load_split(prepared, "train")
    validation = data.load_split(prepared, "validation")
    seeds = Seeds.derive(cfg.train.seed)
    steps_per_epoch = -(-len(training.labels) // cfg.train.batch_size)

    keras.utils.clear_session()  # layers are named by counting them in this process
    keras.utils.set_random_seed(seeds.init)
    model = _instantiate(
        "model",
        cfg.model,
        image_shape=(stats["height"], stats["width"]),
        num_classes=stats["num_classes"],
    )
    model.compile(
        optimizer=_optimizer(cfg, steps_per_epoch * cfg.train.epochs),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.optimizer.build(model.trainable_variables)
    progress = Progress(cfg.train)
    if checkpoints and (state := checkpoints.load()):
        _assign(model.variables, state.variables)
        _assign(model.optimizer.variables, state.optimizer)
        progress.history, progress.best_weights = state.history, state.best
        for row in state.history:
            on_epoch(int(row["epoch"]), row)
        print(f"resumed after epoch {len(state.history)}")
    elif init:
        _continue(model, init, restart=bool(cfg.schedule))
    if not progress.done:
        model.fit(
            data.batches(
                training,
                cfg.train.batch_size,
                cfg.train.epochs,
                seeds.order,
                seeds.augment,
                _instantiate("augment", cfg.augment) if cfg.augment else None,
                first_epoch=len(progress.history),
            ),
            initial_epoch=len(progress.history),
            epochs=cfg.train.epochs,
            steps_per_epoch=steps_per_epoch,
            shuffle=False,  # the batches come shuffled
            validation_data=data.in_order(validation),
            verbose=0,
            callbacks=[
                _recorder(progress, steps_per_epoch, len(training.labels), on_epoch, checkpoints)
            ],
        )
    model.set_weights(progress.best_weights)
    return Trained(model, progress.history)


class Progress:
    """How far a training has come, and when it has come far enough."""

    def __init__(self, settings: config.Train) -> None:
        self.settings = settings
        self.history: list[dict[str, float]] = []
        self.best_weights: list[Any] = []

    @property
    def best(self) -> dict[str, float]:
        """The first epoch of the lowest validation loss."""
        return min(self.history, key=lambda row: row["val_loss"])

    @property
    def done(self) -> bool:
        """Whether all epochs have been, or the last `patience` of them were no better."""
        if not self.history:
            return False
        epochs = len(self.history)
        worse = epochs - self.best["epoch"]
        return epochs >= self.settings.epochs or worse >= self.settings.patience


def _continue(model: "keras.Model", init: Path, restart: bool) -> None:
    """Take over a trained model's weights, and its optimizer's state where that fits.

    Args:
        restart: begin the count of steps anew, since a learning rate's schedule goes by it.
    """
    trained = archive.load(init)
    if (one := _shapes(trained.weights)) != (other := _shapes(model.weights)):
        raise UserError(
            f"train.init_from: its weights have the shapes {one}, those of `model` {other}"
        )
    model.set_weights(trained.get_weights())
    optimizer, before = model.optimizer, trained.optimizer
    state, state_before = _moments(optimizer), _moments(before)
    if type(before) is not type(optimizer) or _shapes(state) != _shapes(state_before):
        print(f"the {optimizer.name} optimizer begins without a state")
        return
    _assign(state, state_before)
    if not restart:
        optimizer.iterations.assign(before.iterations)


def _moments(optimizer: Any) -> list[Any]:
    """An optimizer's variables without its count of steps and its learning rate."""
    if optimizer is None:  # a model saved without one
        return []
    settings = (optimizer.iterations, optimizer._learning_rate)
    return [v for v in optimizer.variables if not any(v is setting for setting in settings)]


def _shapes(variables: list[Any]) -> str:
    return ", ".join("×".join(map(str, variable.shape)) or "1" for variable in variables)


def _assign(variables: list[Any], values: list[Any]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _optimizer(cfg: config.Config, total_steps: int) -> Any:
    settings = dict(cfg.optimizer)
    if cfg.schedule:
        # A schedule's `..._steps` are given as shares of the training, whatever its length.
        shares = {key: value for key, value in cfg.schedule.items() if key.endswith("_steps")}
        steps = {key: max(round(share * total_steps), 1) for key, share in shares.items()}
        settings["learning_rate"] = _instantiate("schedule", {**cfg.schedule, **steps})
    return _instantiate("optimizer", settings)


def _instantiate(section: str, settings: dict[str, Any], **arguments: Any) -> Any:
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    try:
        return instantiate(settings, **arguments, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__ or error
        raise UserError(
            f"{section}: {settings.get('_target_')} refuses its settings: "
            f"{' '.join(str(cause).split())}"
        ) from error


def _recorder(
    progress: Progress,
    steps_per_epoch: int,
    images: int,
    on_epoch: OnEpoch,
    checkpoints: Checkpoints | None,
) -> "keras.callbacks.Callback":
    """A callback that shows progress, keeps it, and stops at a loss that is not finite."""
    import keras
    from keras.ops import convert_to_numpy
    from tqdm import tqdm

    epochs = progress.settings.epochs

    class Recorder(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            self.last_validation = ""
            # On a terminal a bar; in a file only the line at the end of each epoch.
            self.bar = tqdm(
                total=epochs * steps_per_epoch,
                initial=len(progress.history) * steps_per_epoch,
                unit="step",
                disable=None,
                leave=False,
            )

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.started = time.perf_counter()
            self.bar.set_description(f"epoch {epoch + 1}/{epochs}")

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if not np.isfinite(logs["loss"]):
                self.bar.close()
                raise UserError(
                    f"the loss is {logs['loss']} at step {batch + 1} of epoch "
                    f"{len(progress.history) + 1}: try a lower optimizer.learning_rate"
                )
            self.bar.update()
            self.bar.set_postfix_str(
                f"loss {logs['loss']:.4f}, accuracy {logs['accuracy']:.4f}{self.last_validation}",
                refresh=False,
            )
            command.check_signals()

        def on_test_begin(self, logs: Any = None) -> None:
            self.seconds = time.perf_counter() - self.started

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            row = {
                "epoch": epoch + 1,
                **logs,
                "learning_rate": float(convert_to_numpy(self.model.optimizer.learning_rate)),
                "images_per_second": images / self.seconds,
            }
            progress.history.append(row)
            if progress.best is row:
                progress.best_weights = self.model.get_weights()
            self.model.stop_training = progress.done
            if checkpoints:
                state = State(
                    progress.history,
                    [convert_to_numpy(variable) for variable in self.model.variables],
                    [convert_to_numpy(variable) for variable in self.model.optimizer.variables],
                    progress.best_weights,
                )
                checkpoints.save(state, last=progress.done)
            self.last_validation = f", validation {logs['val_accuracy']:.4f}"
            self.bar.write(
                f"epoch {epoch + 1}/{epochs}: loss {logs['loss']:.4f}, accuracy "
                f"{logs['accuracy']:.4f}, validation loss {logs['val_loss']:.4f}, validation "
                f"accuracy {logs['val_accuracy']:.4f}, {self.seconds:.1f} s",
                file=sys.stdout,
            )
            on_epoch(epoch + 1, row)
            command.check_signals()

        def on_train_end(self, logs: Any = None) -> None:
            self.bar.close()

    return Recorder()


def write_history(history: list[dict[str, float]], path: Path) -> None:
    """Write the epochs as CSV, a row each, numbers in full precision."""
    text = io.StringIO()
    # Without the images a second: they are never the same twice.
    writer = csv.DictWriter(text, HISTORY, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_text(path, text.getvalue())


def read_history(path: Path) -> list[dict[str, float]]:
    """Read what `write_history` wrote."""
    with path.open(newline="") as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    return [{**row, "epoch": int(row["epoch"])} for row in rows]


def main() -> None:
    """Run the stage: data/prepared in, models/ and an MLflow run out."""
    command.no_arguments(__doc__)
    cfg = config.load(Path("composed.yaml"))
    prepared, models = Path("data/prepared"), Path("models")
    from pipeline import tracking

    configure(cfg.train.threads)
    remove_parts(models)
    with address.initial(cfg.train.init_from) as init:
        checkpoints = Checkpoints.of(cfg, prepared, init)
        with tracking.training_run(cfg, prepared, checkpoints, init) as run:
            trained = train(cfg, prepared, run.log_epoch, checkpoints, init)
            archive.save(trained.model, models / "model.keras")
            write_history(trained.history, models / "history.csv")
            write_json(models / "metrics.json", trained.metrics())
            run.log_model(models, trained.metrics())
    checkpoints.finish()
    print(
        f"validation accuracy {trained.best['val_accuracy']:.4f} "
        f"(epoch {trained.best['epoch']}), model {sha256(models / 'model.keras')[:12]}"
    )


if __name__ == "__main__":
    command.run(main)
