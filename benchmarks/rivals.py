"""Compare three ways to run a sweep: `make sweep`, Hydra's multirun, `dvc exp run --queue`.

Examples:
    python -m benchmarks.rivals [--trials 20]

All use the space of conf/sweep/default.yaml on MNIST. `make sweep` uses its sampler and its pruner.
The other two have neither: they get the same number of points, drawn at random from the space. Each
runs in its own clone of the last commit, with prepared data, and logs to MLflow. Times are read
from MLflow. The sweep and DVC's queue use two processes with one thread each. Hydra runs the points
one after another in one process, which uses both cores. Only validation data is used.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import hydra
import mlflow
import optuna
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from benchmarks.machine import describe
from pipeline.config.composition import compose, compose_sweep
from pipeline.sweeps.parsing import parse_space
from pipeline.sweeps.space import Parameter
from pipeline.system.determinism import configure_tensorflow
from pipeline.training.loop import train

REPOSITORY = Path(__file__).parents[1]
POINTS = Path("points.json")
Runs = list[tuple[float, float]]  # for each run: seconds until it ended, validation accuracy


def main() -> None:
    """Run each of the three, and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=20)
    points = draw(parser.parse_args().trials)
    results = {run.__name__: in_clone(run, points) for run in (sweep, multirun, queue)}
    target = min(max(value for _, value in runs) for runs in results.values())
    print(f"{'':10} runs  minutes     runs/hour  best   minutes to {target:.4f}")
    for name, runs in results.items():
        minutes = max(seconds for seconds, _ in runs) / 60
        reached = min(seconds for seconds, value in runs if value >= target) / 60
        best = max(value for _, value in runs)
        hourly = 60 * len(runs) / minutes
        print(f"{name:10} {len(runs):4} {minutes:8.1f} {hourly:13.0f} {best:7.4f} {reached:8.1f}")
    print(describe("optuna", "hydra-core", "dvc", "mlflow", "keras", "tensorflow-cpu"))


def draw(count: int) -> list[list[str]]:
    """Draw `count` random points from the space of the default sweep, as overrides."""
    found = parse_space(compose_sweep().sweep)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials = [study.ask() for _ in range(count)]
    return [found.overrides(partial(Parameter.suggest, trial=trial)) for trial in trials]


def in_clone(run: Callable[[str, list[list[str]]], None], points: list[list[str]]) -> Runs:
    """Run one of the three in its own clone. Return its MLflow runs that have an accuracy."""
    with tempfile.TemporaryDirectory() as folder:
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
            history = {
                key: {m.step: m.value for m in client.get_metric_history(found.info.run_id, key)}
                for key in ("val_loss", "val_accuracy")
            }
            if losses := history["val_loss"]:
                best = min(losses, key=lambda step: losses[step])
                end = found.info.end_time / 1000 - began
                runs.append((end, history["val_accuracy"][best]))
        return runs


def sweep(folder: str, points: list[list[str]]) -> None:
    """Run `make sweep`'s command."""
    trials = f"sweep.trials={len(points)}"
    call(folder, sys.executable, "-m", "pipeline.sweep", trials, "train.threads=1")


def multirun(folder: str, points: list[list[str]]) -> None:
    """Run `application`, below, with Hydra's own launcher."""
    numbers = ",".join(str(number) for number in range(len(points)))
    script = str(Path(__file__).resolve())
    call(folder, sys.executable, script, "--multirun", f"+point={numbers}")


def queue(folder: str, points: list[list[str]]) -> None:
    """Run `dvc exp run --queue`, with two jobs at a time."""
    for point in points:
        # In params.yaml, values stand under `set`. A + adds those that are not listed there.
        keys = [f"++set.{key}" if "." in key.split("=")[0] else key for key in point]
        settings = [text for key in (*keys, "set.train.threads=1") for text in ("-S", key)]
        call(folder, "dvc", "exp", "run", "--queue", "--quiet", *settings)
    call(folder, "dvc", "queue", "start", "--jobs", "2")
    while "Queued" in (left := call(folder, "dvc", "queue", "status")) or "Running" in left:
        time.sleep(2)
    call(folder, "dvc", "queue", "stop")


def call(folder: str, *command: str) -> str:
    """Run a command in a folder, with the code in that folder. Return its stdout."""
    return subprocess.run(
        command,
        cwd=folder,
        # A clone lacks the folders next to this checkout. The data may already be in the checkout.
        env={"DATA_MIRROR": str(REPOSITORY / "data/raw"), **os.environ, "PYTHONPATH": folder},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


@hydra.main(version_base="1.3", config_path=None)
def application(given: DictConfig) -> None:
    """Train one of the points and log it, as a tutorial would."""
    folder = Path(os.environ["PYTHONPATH"])
    overrides = json.loads((folder / POINTS).read_text())[given.point]
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    configure_tensorflow(None)
    GlobalHydra.instance().clear()  # otherwise Hydra refuses to compose again
    cfg = compose(overrides)
    with mlflow.start_run():
        mlflow.log_params({"overrides": " ".join(overrides)})

        def on_epoch(epoch: int, row: dict[str, float]) -> None:
            mlflow.log_metrics(row, step=epoch)

        train(cfg, folder / "data/prepared", on_epoch)


if __name__ == "__main__":
    application() if "--multirun" in sys.argv else main()
