"""Measure the overhead of a sweep over its trainings, and whether time or memory per trial grows.

Examples:
    python -m benchmarks.sweep [--trials 500] [--workers 2]

First a sweep of tiny trials runs in a clone of the last commit (`sweep=depth` on the 5,000 digits
that are already installed). Then a tenth of its trainings run again in the same number of
processes, without a study or MLflow.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path

import psutil

from benchmarks.machine import describe
from pipeline.config.composition import compose
from pipeline.config.paths import REPOSITORY
from pipeline.sweeps.storage import Store
from pipeline.sweeps.trials import OVERRIDES, finished_trials
from pipeline.system.determinism import configure_tensorflow
from pipeline.training.loop import train

PARTS = 10
BASE = ["data=mnist_sample", "train.threads=1"]


def main() -> None:
    """Run a sweep, then train alone. Print a line for each tenth of the sweep, and the overhead."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.trials < 2 * PARTS:
        parser.error(f"--trials must be at least {2 * PARTS}")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "clone", "--quiet", REPOSITORY, folder], check=True)
        memory = run_sweep(Path(folder), arguments.trials, arguments.workers)
        trials = sorted(
            finished_trials(Store(Path(folder) / ".sweeps/depth", "depth").open()),
            key=lambda trial: trial.datetime_complete or datetime.max,
        )
        ends = [trial.datetime_complete.timestamp() for trial in trials if trial.datetime_complete]
        size = len(trials) // PARTS
        print("trials     seconds per trial, one worker   MB per worker")
        for part in range(PARTS):
            first, last = part * size, (part + 1) * size - 1
            seconds = (ends[last] - ends[first]) / (last - first) * arguments.workers
            _, size_then = min(memory, key=lambda sample: abs(sample[0] - ends[last]))
            print(f"{first:4}-{last:<4}  {seconds:6.2f} {size_then:28.0f}")
        again = [trial.user_attrs[OVERRIDES] for trial in trials if trial.state.name == "COMPLETE"]
        chosen = again[: max(len(again) // PARTS, 3 * arguments.workers)]
        [prepared] = Path(folder).glob(".sweeps/.data/*/prepared")
        alone = train_alone(chosen, prepared, arguments.workers)
    whole = (ends[-1] - ends[size]) / (len(ends) - 1 - size) * arguments.workers
    print(
        f"{whole:.2f} s per trial, {alone:.2f} s per training alone: "
        f"{whole - alone:.2f} s of overhead ({len(trials)} trials, {len(chosen)} trainings)"
    )
    print(describe("optuna", "mlflow", "keras", "tensorflow-cpu"))


def run_sweep(folder: Path, trials: int, workers: int) -> list[tuple[float, float]]:
    """Run the sweep.

    Returns:
        Samples of the workers' memory: the time in seconds since the epoch, and the mean memory of
        a worker in megabytes.
    """
    settings = [*BASE, f"sweep.trials={trials}", f"sweep.workers={workers}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.sweep", "sweep=depth", *settings],
        cwd=folder,
        stdout=subprocess.DEVNULL,
    )
    memory = []
    while process.poll() is None:
        time.sleep(1)
        sizes = []
        for child in psutil.Process(process.pid).children(recursive=True):
            try:
                if any("spawn_main" in part for part in child.cmdline()):
                    sizes.append(child.memory_info().rss / 1e6)
            except psutil.NoSuchProcess:
                continue
        if sizes:
            memory.append((time.time(), statistics.mean(sizes)))
    if process.returncode:
        sys.exit(process.returncode)
    return memory


def train_alone(trials: list[list[str]], prepared: Path, workers: int) -> float:
    """Mean seconds of a training while the other processes train, too.

    The first training of each process is left out.
    """
    shares = [trials[worker::workers] for worker in range(workers)]
    with ProcessPoolExecutor(workers, get_context("spawn"), configure_tensorflow, (1,)) as pool:
        futures = [pool.submit(train_each, share, prepared) for share in shares]
        return statistics.mean(s for future in futures for s in future.result()[1:])


def train_each(trials: list[list[str]], prepared: Path) -> list[float]:
    """Seconds of each training, one after another in this process."""
    seconds = []
    for overrides in trials:
        cfg = compose([*BASE, *overrides])
        started = time.perf_counter()
        with redirect_stdout(None):
            train(cfg, prepared)
        seconds.append(time.perf_counter() - started)
    return seconds


if __name__ == "__main__":
    main()
