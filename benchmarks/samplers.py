"""Samplers of a sweep on a space with conditions.

Examples:
    python -m benchmarks.samplers [--searches 5] [--trials 24]     # or: make bench-samplers

Two kinds of networks and two optimizers have parameters of their own, and a trial has only those of
its choices. The data are the 5,000 digits of `mnist_sample`, and the metric is the validation loss.
TPE looks at each parameter alone. With `multivariate` and `group` it looks at the parameters of
each choice together. The first 8 trials of each search are random, and the same for all samplers.
Trials run one after another; each search has its own seed. Writes docs/benchmarks/samplers.md.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import optuna
import tensorflow as tf

from benchmarks.machine import describe
from benchmarks.pages import spread, write_page
from pipeline.config.composition import compose, compose_sweep
from pipeline.config.schema import Sweep
from pipeline.sweeps.data import build_data
from pipeline.sweeps.parsing import parse_space
from pipeline.sweeps.storage import Store
from pipeline.sweeps.study import ask_trial
from pipeline.sweeps.trials import OVERRIDES
from pipeline.system.determinism import configure_tensorflow
from pipeline.training.loop import train

BASE = ["data=mnist_sample", "augment=none"]
SPACE = {
    "model": "choice(mlp, cnn)",
    "model.depth": {"when": "model=mlp", "space": "range(1, 5)"},
    "model.width": {"when": "model=mlp", "space": "tag(log, int(interval(16, 256)))"},
    "model.units": {"when": "model=cnn", "space": "tag(log, int(interval(16, 256)))"},
    "model.dropout": {"when": "model=cnn", "space": "interval(0.0, 0.5)"},
    "optimizer": "choice(momentum, adam)",
    "optimizer.learning_rate": [
        {"when": "optimizer=momentum", "space": "tag(log, interval(1e-3, 1.0))"},
        {"when": "optimizer=adam", "space": "tag(log, interval(1e-4, 1e-1))"},
    ],
    "train.label_smoothing": "choice(0.0, 0.02, 0.05)",
    "train.epochs": 3,
}
TPE: dict[str, Any] = {"_target_": "optuna.samplers.TPESampler", "n_startup_trials": 8}
SAMPLERS: dict[str, dict[str, Any]] = {
    "random": {"_target_": "optuna.samplers.RandomSampler"},
    "TPE": TPE,
    "TPE, `multivariate` and `group`": TPE | {"multivariate": True, "group": True},
}
AFTER = (8, 16, 24)  # trials after which the best loss is shown; also after the last


def main() -> None:
    """Search with each sampler and seed, print a line for each, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searches", type=int, default=5)
    parser.add_argument("--trials", type=int, default=AFTER[-1])
    arguments = parser.parse_args()
    configure_tensorflow(None)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    tf.get_logger().setLevel("ERROR")  # it warns of functions that each trial compiles
    prepared = build_data(compose(BASE))
    searches: dict[str, list[list[float]]] = {name: [] for name in SAMPLERS}
    for seed in range(arguments.searches):
        for name, sampler in SAMPLERS.items():
            losses = search(sweep_with(sampler | {"seed": seed}, arguments.trials), prepared)
            searches[name].append(losses)
            print(f"{name}, seed {seed}: best {min(losses):.4f}", flush=True)
    note = f"Medians of {arguments.searches} searches, least to most; {describe('optuna')}"
    counts = sorted({count for count in AFTER if count < arguments.trials} | {arguments.trials})
    write_page("samplers", __doc__, table(searches, counts), note)


def sweep_with(sampler: dict[str, Any], trials: int) -> Sweep:
    """The sweep of this benchmark with a sampler."""
    changes = {"sampler": sampler, "trials": trials, "params": SPACE, "metric": "val_loss"}
    return compose_sweep().sweep.model_copy(update=changes)


def search(sweep: Sweep, prepared: Path) -> list[float]:
    """Train the trials of a sweep one after another. Return the validation loss of each."""
    losses = []
    with tempfile.TemporaryDirectory() as folder:
        study = Store(Path(folder), sweep.name).create("minimize")
        while trial := ask_trial(study, parse_space(sweep), sweep):
            cfg = compose([*BASE, *trial.user_attrs[OVERRIDES]])
            losses.append(train(cfg, prepared).best["val_loss"])
            study.tell(trial, losses[-1])
            study.release(trial)
            keras.utils.clear_session(free_memory=True)
    return losses


def table(searches: dict[str, list[list[float]]], counts: Sequence[int]) -> list[str]:
    """The best losses after some numbers of trials, as the lines of a table."""
    heads = " | ".join(f"best validation loss after {count} trials" for count in counts)
    lines = [f"| sampler | {heads} |", f"|---|{'---|' * len(counts)}"]
    for name, found in searches.items():
        cells = (spread([min(losses[:count]) for losses in found], 4) for count in counts)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
