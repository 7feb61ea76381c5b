"""Tasks for workers of a sweep."""

from pathlib import Path
from typing import Any

from pipeline.data.splits import data_digest, is_prepared
from pipeline.sweeps.storage import Store
from pipeline.sweeps.task import Task
from tests.helpers.studies import random_sweep

# Trainings that take a moment.
BASE = [
    *("data=mnist_sample", "model=mlp", "model.depth=1", "model.width=4", "augment=none"),
    *("train.epochs=2", "train.batch_size=32", "train.threads=1", "tracking.experiment=digits"),
]
LEARNING_RATE = {"optimizer.learning_rate": "tag(log, interval(1e-4, 1e-1))"}


def task_of(store: Store, prepared: Path, trials: int = 2, **changes: Any) -> Task:
    """A task for a sweep over the learning rate."""
    values = {
        "store": store,
        "sweep": random_sweep(trials, **LEARNING_RATE),
        "base": BASE,
        "prepared": prepared,
        "digest": data_digest(prepared) if is_prepared(prepared) else "",
        "initial": "",
        "threads": 1,
        "tracking_uri": "",
        "parent_run": "",
        "session": "session",
        "parent": None,
    }
    return Task(**{**values, **changes})
