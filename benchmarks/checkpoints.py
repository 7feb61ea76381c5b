"""Measure the cost of checkpoints: train without and with them in turn, and time `save`.

Examples:
    python -m benchmarks.checkpoints [--pairs 3] [OVERRIDE...]     # such as model=rnn

The data must be prepared (`dvc repro prepare`). Nothing is tracked or kept.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.machine import describe
from pipeline.config.composition import compose
from pipeline.system.determinism import configure_tensorflow
from pipeline.training.checkpoint import Checkpoints, State
from pipeline.training.loop import train


class Timed(Checkpoints):
    """Checkpoints that measure the time spent in `save`."""

    seconds = 0.0

    def save(self, state: State, last: bool) -> None:
        """Save, and add the time to `seconds`."""
        started = time.perf_counter()
        super().save(state, last)
        self.seconds += time.perf_counter() - started


def main() -> None:
    """Print a line for each pair of trainings, then the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_args()
    cfg = compose(arguments.overrides)
    configure_tensorflow(None)
    ratios, shares = [], []
    for _ in range(arguments.pairs):
        started = time.perf_counter()
        train(cfg, Path("data/prepared"))
        without = time.perf_counter() - started
        with tempfile.TemporaryDirectory(dir=".") as folder:  # on the disk of the real checkpoints
            timed = Timed(Path(folder))
            started = time.perf_counter()
            train(cfg, Path("data/prepared"), checkpoints=timed)
            seconds = time.perf_counter() - started
        ratios.append(seconds / without)
        shares.append(timed.seconds / seconds)
        print(
            f"without {without:.1f} s, with {seconds:.1f} s, {timed.seconds:.2f} s of it in save",
            flush=True,
        )
    print(
        f"{' '.join(arguments.overrides) or 'default'}: with / without "
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), "
        f"share in save {statistics.median(shares):.2%}"
    )
    print(describe("keras", "tensorflow-cpu"))


if __name__ == "__main__":
    main()
