"""Time to 99 % on MNIST's test images: presets, and the examples of Keras and PyTorch.

Examples:
    pip install torch     # only for PyTorch's example; without it, it is left out
    python -m benchmarks.fit [--rounds 3] [PRESET...]     # or: make bench-fit

Each round trains each preset and each example once, with a new seed, in a new process; imports are
not timed. A preset trains for its fixed number of epochs, so a round of `fast` may end a little
below 99 %; its time is the whole training, with compilation and validation. An example ends with
the first epoch that reaches 99 % on test, and these evaluations are not timed. The examples are
https://keras.io/examples/vision/mnist_convnet/ and https://github.com/pytorch/examples (mnist). All
train on the same 54,001 images in memory, in a new order in each epoch; PyTorch's example, which
has no validation, would use 60,000, and would not change their order on a CPU. The speed-up is the
time of Keras's example divided by the time of the row. The peak FLOP/s are those of the fastest
float32 matrix product of NumPy on this machine, measured in each round. The share counts only
convolutions and dense layers, and a training step as three forward passes. Writes
docs/benchmarks/fit.md.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np

from benchmarks.machine import describe
from benchmarks.pages import spread, write_page
from benchmarks.seeds import metrics_of
from pipeline.config.composition import compose
from pipeline.config.paths import REPOSITORY
from pipeline.sweeps.data import build_data
from pipeline.system.determinism import configure_tensorflow
from pipeline.training.loop import train

TARGET = 0.99  # test accuracy
KERAS, TORCH = "Keras's example", "PyTorch's example"
# The scripts of others, and the multiplications of their networks for an image, by layer.
PEERS = {
    KERAS: ("keras_mnist", 26 * 26 * 9 * 32 + 11 * 11 * 9 * 32 * 64 + 1600 * 10),
    TORCH: ("torch_mnist", 26 * 26 * 9 * 32 + 24 * 24 * 9 * 32 * 64 + 9216 * 128 + 128 * 10),
}


def main() -> None:
    """Print a line for each training, and write the page; with --one, train one preset."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", type=int, metavar="SEED", help=argparse.SUPPRESS)
    parser.add_argument("presets", nargs="*", default=["fast", "default"])
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(json.dumps(train_once(arguments.presets[0], arguments.one)))
        return
    for preset in arguments.presets:
        compose([f"experiment={preset}"])  # a wrong name ends here, and not after the examples
    prepared = build_data(compose([]))
    results: dict[str, list[dict[str, float]]] = {}
    peers = [KERAS, *([TORCH] if find_spec("torch") else [])]
    if TORCH not in peers:
        print(f"torch is not installed: {TORCH} is left out")
    peaks = []
    for seed in range(arguments.rounds):
        peaks.append(matrix_peak())
        for name in (*peers, *arguments.presets):
            result = example(name, prepared, seed) if name in peers else in_process(name, seed)
            results.setdefault(name, []).append(result)
            print(f"{name}, seed {seed}: {json.dumps(result)}", flush=True)
    peak = statistics.median(peaks)
    packages = ("keras", "tensorflow-cpu", *(["torch"] if TORCH in peers else []))
    note = f"{arguments.rounds} rounds, {describe(*packages)}; peak {peak / 1e9:.0f} GFLOP/s"
    write_page("fit", __doc__, table(results, peak), note)


def example(name: str, prepared: Path, seed: int) -> dict[str, float]:
    """Train an example of others, with its library's own settings."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("TF_", "KERAS_"))}
    script, multiplied = PEERS[name]
    path = str(REPOSITORY / "benchmarks" / "peers" / f"{script}.py")
    command = [sys.executable, path, str(prepared), str(seed)]
    pipe = subprocess.PIPE
    output = subprocess.run(command, env=plain, check=True, stdout=pipe, text=True).stdout
    epochs = json.loads(output.splitlines()[-1])
    if epochs[-1]["accuracy"] < TARGET:
        raise SystemExit(f"{name}, seed {seed}: it did not reach {TARGET:.0%}")
    seconds = epochs[-1]["seconds"]
    rate = operations(multiplied, prepared, len(epochs)) / seconds
    return {**epochs[-1], "epochs": len(epochs), "rate": rate}


def in_process(preset: str, seed: int) -> dict[str, float]:
    """Train a preset in a new process."""
    command = [sys.executable, "-m", "benchmarks.fit", "--one", str(seed), preset]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    result: dict[str, float] = json.loads(output.splitlines()[-1])
    return result


def train_once(preset: str, seed: int) -> dict[str, float]:
    """Train a preset, and then measure it on the test images."""
    configure_tensorflow(None)
    cfg = compose([f"experiment={preset}", f"train.seed={seed}"])
    prepared = build_data(cfg)
    started = time.perf_counter()
    trained = train(cfg, prepared)
    seconds = time.perf_counter() - started
    epochs = len(trained.history)
    return {
        "seconds": seconds,
        "accuracy": metrics_of(trained.model, prepared)["test_accuracy"],
        "epochs": epochs,
        "rate": operations(multiplications(trained.model), prepared, epochs) / seconds,
    }


def operations(multiplied: int, prepared: Path, epochs: int) -> int:
    """The floating-point operations of a training.

    A step computes forwards, and backwards for the inputs and for the weights of each layer; each
    time it multiplies and adds. The first layer needs no gradient for its inputs, so this is a few
    percent too many.
    """
    images: int = np.load(prepared / "train_labels.npy", mmap_mode="r").shape[0]
    return 6 * multiplied * images * epochs


def multiplications(model: keras.Model) -> int:
    """How many pairs of numbers the convolutions and dense layers multiply and add for an image."""
    members = sum(multiplications(layer) for layer in model.layers if hasattr(layer, "layers"))
    return members + sum(
        math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:-1])
        for layer in model.layers
        if hasattr(layer, "kernel")
    )


def matrix_peak() -> float:
    """The best rate of a float32 matrix product on this machine, in operations per second."""
    size = 2048
    matrix = np.ones((size, size), np.float32)
    times = []
    for _ in range(7):
        started = time.perf_counter()
        matrix @ matrix
        times.append(time.perf_counter() - started)
    return 2 * size**3 / min(times)


def table(results: dict[str, list[dict[str, float]]], peak: float) -> list[str]:
    """The results as the lines of a table."""
    reference = median(results[KERAS], "seconds")
    lines = [
        "| | epochs | seconds, median (least to most) | speed-up | test accuracy, mean (least) "
        "| share of peak FLOP/s |",
        "|---|---|---|---|---|---|",
    ]
    for name, rows in results.items():
        seconds = [row["seconds"] for row in rows]
        accuracy = [100 * row["accuracy"] for row in rows]
        lines.append(
            f"| {name if name in PEERS else f'`experiment={name}`'} | {median(rows, 'epochs'):.0f} "
            f"| {spread(seconds, 1)} | {reference / median(rows, 'seconds'):.1f} "
            f"| {statistics.mean(accuracy):.2f} % ({min(accuracy):.2f}) "
            f"| {median(rows, 'rate') / peak:.0%} |"
        )
    return lines


def median(rows: list[dict[str, Any]], name: str) -> float:
    """The median of a value."""
    return statistics.median(row[name] for row in rows)


if __name__ == "__main__":
    main()
