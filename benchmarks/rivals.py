"""Compare three ways to run a sweep: `make sweep`, Hydra's multirun, `dvc exp run --queue`.

Examples:
    python -m benchmarks.rivals [--trials 20] [--rounds 1]     # or: make bench-sweep

All use the space of conf/sweep/default.yaml on MNIST, and only train: nothing is evaluated. `make
sweep` uses its sampler and its pruner, and its first trial is the preset. The other two get the
same number of points, drawn at random from the space, and train each for all epochs. A trial that
is pruned counts as a trial. Each runs in its own clone of the last commit, with prepared data, and
logs to MLflow; times are read from there, and the time to queue the points counts. The sweep and
DVC's queue use two processes with one thread each. Hydra runs the points one after another in one
process, which uses both cores. The last column is the time to the validation accuracy that all of
them reached; for the sweep, the preset alone may reach it. Writes docs/benchmarks/sweep.md.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import mlflow
import optuna

from benchmarks.machine import describe
from benchmarks.pages import spread, write_page
from benchmarks.peers import POINTS
from pipeline.config.composition import compose_sweep
from pipeline.config.paths import REPOSITORY
from pipeline.sweeps.parsing import parse_space
from pipeline.sweeps.space import Parameter

PACKAGES = ("optuna", "hydra-core", "dvc", "mlflow", "keras", "tensorflow-cpu")
Points = list[list[str]]  # overrides, for each point
Runs = list[tuple[float, float]]  # for each run: seconds until it ended, validation accuracy
Run = Callable[..., None]  # of a folder, the points, and a seed


def main() -> None:
    """Compare the three, and write the page."""
    rivals = {"`make sweep`": sweep, "Hydra's multirun": multirun, "`dvc exp run --queue`": queue}
    write_page("sweep", __doc__, *compare(rivals, PACKAGES, __doc__))


def compare(
    rivals: dict[str, Run], packages: Sequence[str], doc: str | None
) -> tuple[list[str], str]:
    """Run each of the rivals in turn. Return the lines of a table, and a note on it."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rounds: dict[str, list[Runs]] = {name: [] for name in rivals}
    for seed in range(arguments.rounds):
        points = draw(arguments.trials, seed)
        for name, run in rivals.items():
            rounds[name].append(in_clone(partial(run, seed=seed), points))
            found = summary(rounds[name][-1], arguments.trials)
            print(f"{name}, seed {seed}: {found}", flush=True)
    many = arguments.rounds > 1
    searches = f"medians of {arguments.rounds} searches, least to most" if many else "one search"
    note = f"{arguments.trials} trials, {searches}; {describe(*packages)}"
    return table(rounds, arguments.trials), note


def draw(count: int, seed: int) -> Points:
    """Draw `count` random points from the space of the default sweep, as overrides."""
    found = parse_space(compose_sweep().sweep)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trials = [study.ask() for _ in range(count)]
    return [found.overrides(partial(Parameter.suggest, trial=trial)) for trial in trials]


def summary(runs: Runs, trials: int) -> dict[str, float]:
    """The minutes of a search, its trials an hour, and the best validation accuracy.

    A search may need several runs for a trial: KerasTuner makes another one after each rung.
    """
    minutes = max(seconds for seconds, _ in runs) / 60
    best = max(value for _, value in runs)
    return {"minutes": minutes, "trials an hour": 60 * trials / minutes, "best": best}


def table(rounds: dict[str, list[Runs]], trials: int) -> list[str]:
    """The results as the lines of a table."""
    lines = [
        "| | minutes | trials an hour | best validation accuracy | minutes to what all reached |",
        "|---|---|---|---|---|",
    ]
    cells: dict[str, list[list[float]]] = {name: [] for name in rounds}
    for searches in zip(*rounds.values(), strict=True):
        # The accuracy that all of them reached in this round.
        target = min(summary(runs, trials)["best"] for runs in searches)
        for name, runs in zip(rounds, searches, strict=True):
            reached = min(seconds for seconds, value in runs if value >= target) / 60
            cells[name].append([*summary(runs, trials).values(), reached])
    decimals = (1, 0, 4, 1)
    for name, rows in cells.items():
        columns = zip(zip(*rows, strict=True), decimals, strict=True)
        lines.append(f"| {name} | {' | '.join(spread(*column) for column in columns)} |")
    return lines


def in_clone(run: Run, points: Points) -> Runs:
    """Run one of them in its own clone. Return its MLflow runs that have an accuracy."""
    # A worker of DVC's queue may still write when it has been stopped.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        subprocess.run(["git", "clone", "--quiet", REPOSITORY, folder], check=True)
        call(folder, "dvc", "repro", "--quiet", "prepare")
        call(
            folder, sys.executable, "-c", "from pipeline.tracking import store; store.connect('x')"
        )
        (Path(folder) / POINTS).write_text(json.dumps(points))
        began = time.time()
        run(folder, points)
        client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
        experiments = [e.experiment_id for e in client.search_experiments()]
        runs = []
        for found in client.search_runs(experiments):
            history = client.get_metric_history(found.info.run_id, "val_accuracy")
            if history:
                # Ray ends a process without ending its run.
                end = (found.info.end_time or history[-1].timestamp) / 1000 - began
                runs.append((end, max(metric.value for metric in history)))
        if len(runs) < len(points):
            raise SystemExit(f"only {len(runs)} of {len(points)} trials ran")
        return runs


def sweep(folder: str, points: Points, seed: int) -> None:
    """Run `make sweep`'s command."""
    settings = [f"sweep.trials={len(points)}", f"sweep.sampler.seed={seed}", "train.threads=1"]
    call(folder, sys.executable, "-m", "pipeline.sweep", *settings)


def multirun(folder: str, points: Points, seed: int) -> None:
    """Run the points with Hydra's own launcher."""
    numbers = ",".join(str(number) for number in range(len(points)))
    call(folder, *peer("multirun"), "--multirun", f"+point={numbers}")


def peer(name: str) -> list[str]:
    """The command of a script of benchmarks/peers."""
    return [sys.executable, "-m", f"benchmarks.peers.{name}"]


def queue(folder: str, points: Points, seed: int) -> None:
    """Run `dvc exp run --queue`, with two jobs at a time."""
    for point in points:
        # In params.yaml, values stand under `set`. A + adds those that are not listed there.
        keys = [f"++set.{key}" if "." in key.split("=")[0] else key for key in point]
        settings = [text for key in (*keys, "set.train.threads=1") for text in ("-S", key)]
        call(folder, "dvc", "exp", "run", "--queue", "--quiet", *settings, "train")
    # Its workers keep its stdout open. One of them may miss that the queue is empty, and stay.
    start = ["dvc", "queue", "start", "--jobs", "2"]
    subprocess.run(start, cwd=folder, env=_env(folder), check=True, stdout=subprocess.DEVNULL)
    while "Queued" in (left := _status(folder)) or "Running" in left:
        time.sleep(2)
    call(folder, "dvc", "queue", "stop", "--kill")


def _status(folder: str) -> str:
    """What DVC says of its queue. It fails if it reads a file that a worker is writing."""
    for _ in range(5):
        with suppress(subprocess.CalledProcessError):
            return call(folder, "dvc", "queue", "status")
        time.sleep(2)
    raise SystemExit("dvc queue status keeps failing")


def call(folder: str, *command: str) -> str:
    """Run a command in a folder, with the code in that folder. Return its stdout."""
    return subprocess.run(
        command,
        cwd=folder,
        env=_env(folder),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


def _env(folder: str) -> dict[str, str]:
    # A clone lacks the folders next to this checkout. The data may already be in the checkout.
    return {"DATA_MIRROR": str(REPOSITORY / "data/raw"), **os.environ, "PYTHONPATH": folder}


if __name__ == "__main__":
    main()
