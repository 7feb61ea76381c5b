"""Time the pipeline: with nothing to do, in a new clone, and the share of tracking in a training.

Examples:
    python -m benchmarks.repro [--rounds 3]     # or: make bench-pipeline

Three things are timed, each in turn with a reference. For a `dvc repro` with nothing to do, the
reference is one of a project with five empty stages. A `dvc repro` in a new clone copies MNIST from
a folder and makes all that the default makes: the model, its other forms, the report, the MLflow
run. Its reference is Keras's example as a script, from its start to the first epoch that reaches
99 % on test; the data are prepared, and the measuring of this accuracy is not timed. Tracking is
what the callbacks do from the first epoch to the last: metrics to MLflow, checkpoints, the progress
bar. Its reference is the time of these epochs, with the callbacks. Opening the MLflow run and
logging the model are not part of it. Writes docs/benchmarks/pipeline.md.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.fit import KERAS, example
from benchmarks.machine import describe
from benchmarks.pages import spread, write_page
from pipeline.config.composition import compose
from pipeline.config.paths import REPOSITORY
from pipeline.sweeps.data import build_data

PACKAGES = ("dvc", "mlflow", "keras", "tensorflow-cpu")
EMPTY = "stages:\n" + "".join(
    f"  stage{n}:\n    cmd: touch out{n}\n    deps: [out{n - 1}]\n    outs: [out{n}]\n"
    for n in range(1, 6)
)
CALLBACKS = [
    *("on_train_begin", "on_epoch_begin", "on_train_batch_end"),
    *("on_test_begin", "on_epoch_end", "on_train_end"),
]
Pair = tuple[float, float]  # seconds of ours, and of its reference


def main() -> None:
    """Print a line for each pair, and write the page; with --train, time one training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--train", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.train:
        print(json.dumps(train_and_time()))
        return
    prepared = build_data(compose([]))
    raw = prepared.parent / "raw"
    pairs: dict[str, list[Pair]] = {"nothing to do": [], "a new clone": [], "tracking": []}
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty"
        make_empty(empty)
        for number in range(arguments.rounds):
            clone = Path(folder) / str(number)
            subprocess.run(["git", "clone", "--quiet", REPOSITORY, clone], check=True)
            new = repro(clone, raw, new=True)
            pairs["a new clone"].append((new, script_to_target(prepared, number)))
            pairs["nothing to do"] += [(repro(clone, raw), repro(empty, raw)) for _ in range(3)]
            pairs["tracking"].append(tracked_training(clone))
            print({name: times[-1] for name, times in pairs.items()}, flush=True)
    write_page("pipeline", __doc__, table(pairs), describe(*PACKAGES))


def make_empty(folder: Path) -> None:
    """Make a project of five stages that only touch a file, and run it."""
    folder.mkdir()
    (folder / "dvc.yaml").write_text(EMPTY)
    (folder / "out0").touch()
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"], ["dvc", "repro", "-q"]):
        subprocess.run(command, cwd=folder, check=True)


def repro(folder: Path, raw: Path, new: bool = False) -> float:
    """Seconds that `dvc repro` takes in a folder.

    Args:
        folder: a DVC project.
        raw: the folder of MNIST.
        new: whether stages may run. If not, only `compose` may, which always runs.
    """
    environment = {**os.environ, "PYTHONPATH": str(folder), "DATA_MIRROR": str(raw)}
    started = time.perf_counter()
    done = subprocess.run(
        ["dvc", "repro"], cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    seconds = time.perf_counter() - started
    if not new and "Running" in done.stdout.replace("Running stage 'compose'", ""):
        raise SystemExit(f"{folder} was not up to date")
    return seconds


def script_to_target(prepared: Path, seed: int) -> float:
    """Seconds of Keras's example as a script, without its evaluations."""
    started = time.perf_counter()
    result = example(KERAS, prepared, seed)
    return time.perf_counter() - started - result["evaluating"]


def tracked_training(folder: Path) -> Pair:
    """Seconds of all callbacks, and of the whole training, in the train stage of a clone."""
    output = subprocess.run(
        [sys.executable, "-m", "benchmarks.repro", "--train"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    callbacks, training = json.loads(output.splitlines()[-1])
    return callbacks, training


def train_and_time() -> Pair:
    """Run the train stage here, and time its callbacks."""
    import keras

    from pipeline.train import main as train

    calls: list[Pair] = []  # when each call of a callback began and ended

    def timed(method: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: object) -> None:
            started = time.perf_counter()
            method(*arguments)
            calls.append((started, time.perf_counter()))

        return call

    for name in CALLBACKS:
        method = getattr(keras.callbacks.CallbackList, name)
        setattr(keras.callbacks.CallbackList, name, timed(method))
    sys.argv[1:] = []
    train()
    return sum(ended - started for started, ended in calls), calls[-1][1] - calls[0][0]


def table(pairs: dict[str, list[Pair]]) -> list[str]:
    """The results as the lines of a table."""
    names = {
        "nothing to do": ("`dvc repro`, nothing to do", "five empty stages"),
        "a new clone": ("`dvc repro` in a new clone", "Keras's example as a script"),
        "tracking": ("tracking, checkpoints, progress", "the epochs, with them"),
    }
    lines = [
        "| | seconds, median (least to most) | reference | seconds | median ratio | pairs |",
        "|---|---|---|---|---|---|",
    ]
    for name, times in pairs.items():
        ours, theirs = zip(*times, strict=True)
        ratio = statistics.median(a / b for a, b in times)
        first, second = names[name]
        cells = [first, spread(ours, 2), second, spread(theirs, 2), f"{ratio:.3g}", str(len(times))]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
