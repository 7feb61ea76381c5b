"""One search by three: `make sweep`, Hydra's multirun, `dvc exp run --queue`.

    python -m benchmarks.rivals [--trials 20]

The space is that of conf/sweep/default.yaml, on MNIST. The sweep chooses and prunes as it does; the
other two choose and prune nothing, and are given as many points, drawn at random from that space.
All log to MLflow, by whose times they are measured, each in a clone of the last commit whose data
are prepared. Two processes of one thread each for the sweep and for DVC's queue; Hydra runs one
after another in one process, which has both cores. Validation data only.
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
Runs = list[tuple[float, float]]  # seconds since the start at a run's end, its validation accuracy


def main() -> None:
    """Run each, print a row for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=20)
    points = draw(parser.parse_args().trials)
    results = {run.__name__: in_clone(run, points) for run in (sweep, multirun, queue)}
    target = min(max(value for _, value in runs) for runs in results.values())
    print(f"{'':10} runs  minutes  runs an hour  best   minutes to {target:.4f}")
    for name, runs in results.items():
        minutes = max(seconds for seconds, _ in runs) / 60
        reached = min(seconds for seconds, value in runs if value >= target) / 60
        best = max(value for _, value in runs)
        hourly = 60 * len(runs) / minutes
        print(f"{name:10} {len(runs):4} {minutes:8.1f} {hourly:13.0f} {best:7.4f} {reached:8.1f}")
    print(describe("optuna", "hydra-core", "dvc", "mlflow", "keras", "tensorflow-cpu"))


def draw(count: int) -> list[list[str]]:
    """So many points of the default search's space, as overrides."""
    found = parse_space(compose_sweep().sweep)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials = [study.ask() for _ in range(count)]
    return [found.overrides(partial(Parameter.suggest, trial=trial)) for trial in trials]


def in_clone(run: Callable[[str, list[list[str]]], None], points: list[list[str]]) -> Runs:
    """Run one of the three in a clone of its own; its MLflow runs that have an accuracy."""
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
    """`make sweep`."""
    trials = f"sweep.trials={len(points)}"
    call(folder, sys.executable, "-m", "pipeline.sweep", trials, "train.threads=1")


def multirun(folder: str, points: list[list[str]]) -> None:
    """A Hydra application, below, and its own launcher."""
    numbers = ",".join(str(number) for number in range(len(points)))
    script = str(Path(__file__).resolve())
    call(folder, sys.executable, script, "--multirun", f"+point={numbers}")


def queue(folder: str, points: list[list[str]]) -> None:
    """`dvc exp run --queue`, two jobs at a time."""
    for point in points:
        # params.yaml has the groups; other keys are added to it.
        keys = [f"+{key}" if "." in key.split("=")[0] else key for key in point]
        settings = [text for key in (*keys, "+train.threads=1") for text in ("-S", key)]
        call(folder, "dvc", "exp", "run", "--queue", "--quiet", *settings)
    call(folder, "dvc", "queue", "start", "--jobs", "2")
    while "Queued" in (left := call(folder, "dvc", "queue", "status")) or "Running" in left:
        time.sleep(2)
    call(folder, "dvc", "queue", "stop")


def call(folder: str, *command: str) -> str:
    """Run a command in a folder, of this project's code; return what it says."""
    return subprocess.run(
        command,
        cwd=folder,
        # A clone has not this checkout's neighbours; the data may be in it already.
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
    GlobalHydra.instance().clear()  # composing anew is refused otherwise
    cfg = compose(overrides)
    with mlflow.start_run():
        mlflow.log_params({"overrides": " ".join(overrides)})

        def on_epoch(epoch: int, row: dict[str, float]) -> None:
            mlflow.log_metrics(row, step=epoch)

        train(cfg, folder / "data/prepared", on_epoch)


if __name__ == "__main__":
    application() if "--multirun" in sys.argv else main()
