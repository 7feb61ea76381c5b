"""Results to compare."""

from collections.abc import Mapping

from pipeline.comparison.result import Result
from pipeline.training.history import COLUMNS, Row

SETTINGS = {
    "model": "cnn",
    "model.units": "256",
    "optimizer": "adam",
    "optimizer.learning_rate": "0.005",
    "schedule": "CosineDecay",
    "schedule.warmup_target": "0.005",
    "train.epochs": "4",
}


def history(*losses: float) -> list[Row]:
    """An epoch for each loss on validation images; the accuracy is 1 - loss."""
    return [
        {**dict.fromkeys(COLUMNS, 0.5), "epoch": n, "val_loss": loss, "val_accuracy": 1 - loss}
        for n, loss in enumerate(losses, 1)
    ]


def result(name: str, changes: Mapping[str, str] | None = None, loss: float = 0.25) -> Result:
    """A result with these settings on top of `SETTINGS`."""
    test = {"test_accuracy": 1 - loss, "test_loss": loss}
    return Result(name, {**SETTINGS, **(changes or {})}, history(0.5, loss, 0.4), test)
