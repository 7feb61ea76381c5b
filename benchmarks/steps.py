"""Time a training step of the presets with TensorFlow's oneDNN kernels and with Eigen's.

Examples:
    python -m benchmarks.steps [--rounds 3]

Each round times each preset's network with both kernels in turn, each in a new process. The images
are random, since they do not change the time.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import numpy as np

from benchmarks.machine import describe
from pipeline.config.composition import compose
from pipeline.data.batches import Epoch
from pipeline.data.splits import Split
from pipeline.system.environment import ONEDNN

PRESETS = ("default", "fast", "tiny", "accurate")
STEPS = 128
KERNELS = {"1": "oneDNN", "0": "Eigen"}


def main() -> None:
    """Print a row for each preset; with --one, time one preset in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("PRESET", "KERNELS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(time_step(*arguments.one)))
        return
    print("preset      oneDNN      Eigen  ratio")
    for preset in PRESETS:
        times: dict[str, list[float]] = {kernels: [] for kernels in KERNELS}
        for _ in range(arguments.rounds):
            for kernels, results in times.items():
                command = [sys.executable, "-m", "benchmarks.steps", "--one", preset, kernels]
                output = subprocess.run(
                    command, check=True, stdout=subprocess.PIPE, text=True
                ).stdout
                results.append(json.loads(output.splitlines()[-1]))
        with_it, without = (1000 * statistics.median(times[kernels]) for kernels in KERNELS)
        print(f"{preset:9}{with_it:6.2f} ms  {without:6.2f} ms  {with_it / without:5.2f}")
    print(describe("keras", "tensorflow-cpu"))


def time_step(preset: str, kernels: str) -> float:
    """The median seconds of a training step of a preset."""
    os.environ[ONEDNN] = kernels  # before TensorFlow is imported, which reads it
    import keras

    from pipeline.config.instantiation import instantiate_section
    from pipeline.system.determinism import configure_tensorflow
    from pipeline.training.steps import Trainer

    configure_tensorflow(None)
    cfg = compose([f"experiment={preset}"])
    model = instantiate_section("model", cfg.model, image_shape=(28, 28), num_classes=10)
    model.compile(optimizer=keras.optimizers.Adam(1e-3))
    model.optimizer.build(model.trainable_variables)
    augment = instantiate_section("augment", cfg.augment) if cfg.augment else None
    size = cfg.train.batch_size
    trainer = Trainer(model, size, cfg.train.label_smoothing, augment)
    rng = np.random.default_rng(0)
    count = STEPS * size
    images = rng.integers(0, 256, (count, 28, 28), np.uint8)
    split = Split(images, rng.integers(0, 10, count, np.uint8))
    times = []
    started = time.perf_counter()
    for part in trainer.epoch(Epoch(split, 0, 1, 2, augment.draws if augment else 0)):
        times.append((time.perf_counter() - started) / len(part.losses))
        started = time.perf_counter()
    return statistics.median(times[2:])  # the first calls compile


if __name__ == "__main__":
    main()
