from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.data.splits import load_split
from pipeline.system.errors import UserError
from pipeline.training.history import COLUMNS
from pipeline.training.loop import Trained, _epoch, train
from pipeline.training.steps import Steps
from tests.helpers.configs import MakeConfig, changed, without_speed
from tests.helpers.trainings import TINY, equal_weights, weights


def row(epoch: int, **values: float) -> dict[str, float]:
    return {**dict.fromkeys(COLUMNS, 0.5), "epoch": epoch, **values}


def test_metrics_are_those_of_the_best_epoch() -> None:
    losses = [0.9, 0.4, 0.4, 0.6]
    history = [row(n, val_loss=loss) for n, loss in enumerate(losses, 1)]
    trained = Trained(None, history)
    assert trained.best["epoch"] == 2
    assert trained.metrics() == {"best_epoch": 2, "val_loss": 0.4, "val_accuracy": 0.5}


@pytest.fixture(scope="session")
def first(cfg: MakeConfig, prepared: Path) -> Trained:
    return train(cfg(*TINY), prepared)


@pytest.mark.slow
def test_same_seed_gives_the_same_weights(first: Trained, cfg: MakeConfig, prepared: Path) -> None:
    again = train(cfg(*TINY), prepared)
    assert equal_weights(weights(first), weights(again))
    assert without_speed(first.history) == without_speed(again.history)


@pytest.mark.slow
@pytest.mark.parametrize("change", ["train.seed=1", "augment=none", "optimizer.learning_rate=0.02"])
def test_other_settings_give_other_weights(
    first: Trained, cfg: MakeConfig, prepared: Path, change: str
) -> None:
    assert not equal_weights(weights(first), weights(train(cfg(*TINY, change), prepared)))


@pytest.mark.slow
def test_training_learns_and_reports_its_true_validation_loss(
    cfg: MakeConfig, prepared: Path
) -> None:
    trained = train(cfg(*TINY, "train.epochs=12", "optimizer.learning_rate=0.02"), prepared)
    assert trained.best["val_accuracy"] > 0.9
    validation = load_split(prepared, "validation")
    probabilities = trained.model.predict(np.array(validation.images), verbose=0)
    true = probabilities[np.arange(30), validation.labels]
    assert trained.best["val_loss"] == pytest.approx(-np.log(true).mean(), rel=1e-4)


@pytest.mark.slow
def test_early_stop_restores_the_best_epoch(cfg: MakeConfig, prepared: Path) -> None:
    # With so high a learning rate, a later epoch is worse than an earlier one.
    wild = cfg(
        *TINY,
        "train.epochs=30",
        "train.patience=2",
        "optimizer=sgd",
        "optimizer.learning_rate=3.0",
        "schedule=constant",
        "augment=none",
    )
    trained = train(wild, prepared)
    assert len(trained.history) == trained.best["epoch"] + 2 < 30
    # The same training, but with the best epoch as its last.
    ended = changed(wild, train=changed(wild.train, epochs=int(trained.best["epoch"])))
    assert equal_weights(weights(trained), weights(train(ended, prepared)))


@pytest.mark.slow
def test_best_epoch_is_restored_after_the_last_epoch(cfg: MakeConfig, prepared: Path) -> None:
    wild = cfg(*TINY, "train.epochs=5", "train.patience=5", "schedule=constant", "optimizer=sgd")
    trained = train(changed(wild, optimizer={**wild.optimizer, "learning_rate": 3.0}), prepared)
    validation = load_split(prepared, "validation")
    probabilities = trained.model.predict(np.array(validation.images), verbose=0)
    accuracy = (probabilities.argmax(1) == validation.labels).mean()
    assert trained.best["epoch"] < 5
    assert accuracy == pytest.approx(trained.best["val_accuracy"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("section", "settings_", "message"),
    [
        ("optimizer", {"_target_": "keras.optimizers.Adma", "learning_rate": 0.1}, "Adma"),
        ("optimizer", {"_target_": "keras.optimizers.RMSprop", "roh": 0.1}, "roh"),
        ("model", {"_target_": "pipeline.models.sequential", "layesr": []}, "layers"),
        ("model", {"_target_": "no_such_package.network"}, "no_such_package"),
    ],
)
def test_settings_that_a_target_refuses_are_named(
    cfg: MakeConfig, prepared: Path, section: str, settings_: dict[str, Any], message: str
) -> None:
    changes: dict[str, Any] = {section: settings_, "schedule": {}}
    with pytest.raises(UserError, match=message) as error:
        train(changed(cfg(*TINY), **changes), prepared)
    assert str(error.value).startswith(f"{section}: ")
    assert "\n" not in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    "error", [MemoryError("no"), tf.errors.ResourceExhaustedError(None, None, "OOM\nwhen")]
)
def test_lack_of_memory_is_one_line(cfg: MakeConfig, prepared: Path, error: Exception) -> None:
    def fail(epoch: int, row: dict[str, float]) -> None:
        raise error

    with pytest.raises(UserError, match=r"the memory is not enough.*batch_size \((no|OOM when)\)"):
        train(cfg(*TINY), prepared, fail)


@pytest.mark.parametrize("size", [1, 7, 100])
def test_loss_of_an_epoch_does_not_depend_on_the_size_of_its_parts(size: int) -> None:
    """The time that steps take decides how many are a part."""
    rng = np.random.default_rng(0)
    losses = (10 ** rng.uniform(-8, 2, 1000)).astype(np.float32)
    expected = 0.0
    for loss in losses.tolist():
        expected += 100 * loss
    cuts = range(size, 1000, size)
    parts = [Steps(part, np.full(len(part), 100), 0) for part in np.split(losses, cuts)]
    logs = _epoch(parts, 0, keras.callbacks.CallbackList([], model=keras.Model()))
    assert logs["loss"] == expected / 100_000
