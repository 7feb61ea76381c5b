"""Every configuration trained twice gives the same bytes: `make test-long`."""

import itertools
import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from pipeline.artifacts.keras_file import save_model
from pipeline.config.schema import Config
from pipeline.system.determinism import configure_tensorflow
from pipeline.system.files import sha256
from pipeline.training.loop import train
from tests.helpers.configs import MakeConfig
from tests.helpers.shipped import SHIPPED

pytestmark = pytest.mark.long

GROUPS = ("model", "optimizer", "augment", "schedule")
MATRIX = list(itertools.product(*(SHIPPED[group] for group in GROUPS)))
TINY = ("train.epochs=2", "train.batch_size=32")


def digests(configs: list[Config], prepared: Path) -> list[str]:
    """SHA-256 of the model file that each configuration gives."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        result = []
        for cfg in configs:
            save_model(train(cfg, prepared).model, path)
            result.append(sha256(path))
        return result


def test_same_configuration_gives_the_same_bytes(cfg: MakeConfig, prepared: Path) -> None:
    names = [
        [f"{group}={choice}" for group, choice in zip(GROUPS, choices, strict=True)]
        for choices in MATRIX
    ]
    configs = [cfg(*choices, *TINY) for choices in names]
    # One optimizer and one schedule are enough to show that the seed has an effect everywhere.
    other = [
        cfg(*choices, *TINY, "train.seed=1")
        for choices in names
        if {"optimizer=sgd", "schedule=constant"} <= set(choices)
    ]
    processes = multiprocessing.get_context("spawn")
    # On data this small, one thread and two give the same bytes. On all of MNIST they may not.
    with (
        ProcessPoolExecutor(1, processes, configure_tensorflow, (1,)) as one,
        ProcessPoolExecutor(1, processes, configure_tensorflow, (2,)) as two,
    ):
        first = one.submit(digests, configs + other, prepared)
        second = two.submit(digests, configs, prepared)
        unequal = [
            choices
            for choices, a, b in zip(names, first.result(), second.result(), strict=False)
            if a != b
        ]
    assert unequal == []
    assert len(names) == len(second.result()) >= 180
    # Two configurations may happen to train the same model. Two seeds may not.
    assert len(set(first.result()[len(names) :]) - set(second.result())) == len(other)
