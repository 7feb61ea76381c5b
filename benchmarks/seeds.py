"""Train configurations with several seeds: test accuracy and training time, mean ± std.

Examples:
    python -m benchmarks.seeds [--seeds 5] [OVERRIDE...]
    python -m benchmarks.seeds --write [NAME...]  # measure the README's table, or some of its rows,
                                                  # and write them there

Nothing is tracked or kept. Times include the tracing of the first epoch, but not the imports. The
test set only measures the finished models: no choice depends on it.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import results
from benchmarks.machine import machine, versions
from pipeline.config.composition import compose
from pipeline.data.splits import load_split
from pipeline.evaluation.metrics import (
    WITHOUT_LABEL_ERRORS,
    accuracy_without_label_errors,
    evaluate_predictions,
)
from pipeline.sweeps.data import build_data
from pipeline.system.determinism import configure_tensorflow
from pipeline.training.loop import train

PACKAGES = ("keras", "tensorflow-cpu")


def main() -> None:
    """Print a line for each seed and the table; with --write, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="write rows of the README's table")
    parser.add_argument("names", nargs="*", help="overrides; with --write, rows of the table")
    arguments = parser.parse_args()
    configure_tensorflow(None)
    if arguments.write:
        chosen = {name: results.CONFIGURATIONS[name] for name in arguments.names}
    else:
        chosen = {" ".join(arguments.names) or "default": arguments.names}
    for name, overrides in (chosen or results.CONFIGURATIONS).items():
        row = measure(name, overrides, arguments.seeds)
        row |= {"machine": machine(), "versions": versions(*PACKAGES)}
        measured = {"configurations": {name: row}}
        print(results.table(measured), flush=True)
        if arguments.write:
            results.save(measured)


def measure(name: str, overrides: list[str], seeds: int) -> dict[str, Any]:
    """Train a configuration once for each seed, from 0.

    Returns:
        The number of parameters, epochs and seeds; the least value, the mean and the standard
        deviation of the test accuracy in percent; the median training time in seconds; the mean
        accuracy without the images whose label is in doubt, if the data set has such.
    """
    accuracies, cleaned, seconds = [], [], []
    for seed in range(seeds):
        cfg = compose([*overrides, f"train.seed={seed}"])
        prepared = build_data(cfg)
        started = time.perf_counter()
        trained = train(cfg, prepared)
        seconds.append(time.perf_counter() - started)
        metrics = metrics_of(trained.model, prepared, cfg.data.label_errors)
        accuracies.append(100 * metrics["test_accuracy"])
        if WITHOUT_LABEL_ERRORS in metrics:
            cleaned.append(100 * metrics[WITHOUT_LABEL_ERRORS])
        print(f"{name}, seed {seed}: {accuracies[-1]:.2f} %, {seconds[-1]:.1f} s", flush=True)
    row = {
        "parameters": trained.model.count_params(),
        "epochs": cfg.train.epochs,
        "seeds": seeds,
        "least": round(min(accuracies), 4),
        "accuracy": round(statistics.mean(accuracies), 4),
        "deviation": round(statistics.stdev(accuracies) if seeds > 1 else 0.0, 4),
        "seconds": round(statistics.median(seconds), 2),
    }
    if cleaned:
        row["without_label_errors"] = round(statistics.mean(cleaned), 4)
    return row


def metrics_of(model: Any, prepared: Path, label_errors: Sequence[int] = ()) -> dict[str, float]:
    """What `evaluate` would say of a model: its metrics on the test images."""
    test = load_split(prepared, "test")
    probabilities = model.predict(np.array(test.images), batch_size=1000, verbose=0)
    metrics = evaluate_predictions(probabilities, test.labels, calibration_bins=15)
    return metrics | accuracy_without_label_errors(probabilities, test.labels, label_errors)


if __name__ == "__main__":
    main()
