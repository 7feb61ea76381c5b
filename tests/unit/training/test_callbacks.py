import os
import signal
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from pipeline.config.composition import compose
from pipeline.system import cli
from pipeline.system.errors import UserError
from pipeline.training.callbacks import (
    Progress,
    ProgressBar,
    RecordHistory,
    ReportEpoch,
    SaveCheckpoint,
)
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.history import COLUMNS
from pipeline.training.loop import train
from tests.helpers.configs import MakeConfig
from tests.helpers.trainings import TINY


@pytest.mark.slow
def test_each_epoch_is_reported_when_it_ends(cfg: MakeConfig, prepared: Path) -> None:
    seen: list[tuple[int, dict[str, float]]] = []
    trained = train(cfg(*TINY), prepared, lambda epoch, values: seen.append((epoch, values)))
    assert [epoch for epoch, _ in seen] == [1, 2]
    for (_, values), kept in zip(seen, trained.history, strict=True):
        assert set(COLUMNS) < set(values)
        assert kept == values
        assert values["images_per_second"] > 0


@pytest.mark.slow
def test_loss_that_is_not_finite_names_step_and_epoch(cfg: MakeConfig, prepared: Path) -> None:
    exploding = cfg(*TINY, "optimizer=sgd", "optimizer.learning_rate=3e38", "schedule=constant")
    with pytest.raises(UserError, match=r"loss is (nan|inf) at step \d of epoch 1: .*rate"):
        train(exploding, prepared)


def progress_of(*val_losses: float, epochs: int = 9, patience: int = 2) -> Progress:
    """The progress of a training whose epochs had these validation losses, and equal accuracies."""
    cfg = compose([f"train.epochs={epochs}", f"train.patience={patience}"])
    progress = Progress(cfg.train)
    progress.history = [
        {"epoch": n, "val_loss": loss, "val_accuracy": 0.5} for n, loss in enumerate(val_losses, 1)
    ]
    return progress


@pytest.mark.parametrize(
    ("val_losses", "done"),
    [
        ([], False),
        ([0.5], False),
        ([0.5, 0.6], False),
        ([0.5, 0.6, 0.5], True),  # two epochs without improvement
        ([0.5, 0.6, 0.4], False),
        ([0.5, 0.4, 0.3, 0.2], True),  # the last epoch
    ],
)
def test_training_is_done_after_its_last_epoch_or_without_improvement(
    val_losses: list[float], done: bool
) -> None:
    assert progress_of(*val_losses, epochs=4).done == done


@pytest.fixture
def model() -> keras.Model:
    """A network with two weights, which a test sets."""
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    network.compile(optimizer=keras.optimizers.SGD(0.25), loss="mse")
    network.optimizer.build(network.trainable_variables)
    return network


def end_epochs(callback: RecordHistory, model: keras.Model, val_losses: list[float]) -> None:
    """End epochs, each with other weights."""
    callback.set_model(model)
    for epoch, loss in enumerate(val_losses, len(callback.progress.history)):
        model.set_weights([np.full((1, 1), epoch + 1.0), np.zeros(1)])
        callback.on_epoch_begin(epoch)
        callback.on_test_begin()
        callback.on_epoch_end(epoch, {"loss": 1.0, "val_loss": loss, "val_accuracy": 0.5})


def test_history_has_the_learning_rate_and_the_best_weights_are_kept(model: keras.Model) -> None:
    callback = RecordHistory(progress_of(), images=100)
    end_epochs(callback, model, [0.5, 0.4, 0.4])
    rows = callback.progress.history
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row["learning_rate"] for row in rows] == [0.25] * 3
    assert all(row["images_per_second"] > 0 for row in rows)
    assert callback.progress.best_weights[0].item() == 2.0


def test_checkpoint_holds_the_state_of_the_training(model: keras.Model, tmp_path: Path) -> None:
    record = RecordHistory(progress_of(), images=100)
    end_epochs(record, model, [0.5, 0.6])
    model.optimizer.iterations.assign(7)
    save = SaveCheckpoint(record.progress, Checkpoints(tmp_path))
    save.set_model(model)
    save.on_epoch_end(1)
    state = Checkpoints(tmp_path).load()
    assert state is not None
    assert state.history == record.progress.history
    assert [array.ravel().tolist() for array in state.variables[:2]] == [[2.0], [0.0]]
    assert [array.ravel().tolist() for array in state.best] == [[1.0], [0.0]]
    assert 7 in [int(array) for array in state.optimizer if array.shape == ()]


def test_progress_bar_prints_one_line_per_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    record = RecordHistory(progress_of(), images=100)
    bar = ProgressBar(record, epochs=3, first_epoch=1, steps_per_epoch=2)
    logs: dict[str, Any] = {"loss": 0.5, "accuracy": 0.75, "val_loss": 0.25, "val_accuracy": 1.0}
    bar.on_epoch_begin(1)
    bar.on_train_batch_end(0, logs)
    record.on_test_begin()
    bar.on_epoch_end(1, logs)
    bar.close()
    assert capsys.readouterr().out.startswith(
        "epoch 2/3: loss 0.5000, accuracy 0.7500, validation loss 0.2500, validation accuracy 1.0"
    )


def test_held_signal_is_raised_after_a_batch_and_after_an_epoch_is_reported() -> None:
    reported: list[int] = []
    callback = ReportEpoch(progress_of(0.5), lambda epoch, row: reported.append(epoch))
    callback.on_train_batch_end(0)
    with pytest.raises(KeyboardInterrupt), cli.signals_held():  # noqa: PT012
        os.kill(os.getpid(), signal.SIGINT)
        callback.on_train_batch_end(1)
        raise AssertionError("the signal was not raised")
    with pytest.raises(SystemExit), cli.signals_held():  # noqa: PT012
        os.kill(os.getpid(), signal.SIGTERM)
        callback.on_epoch_end(0)
        raise AssertionError("the signal was not raised")
    assert reported == [1]
