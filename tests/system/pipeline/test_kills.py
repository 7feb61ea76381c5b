"""Kill -9 at random moments of each stage, many times in a row: `make test-long KILLS=40`.

At any moment, a file with a final name is complete. In the end, all bytes are the same.
"""

import importlib
import json
import multiprocessing
import os
import random
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from multiprocessing.synchronize import Event
from pathlib import Path

import mlflow
import psutil
import pytest

from tests.helpers import sweeps, tiny
from tests.helpers.project import OUTPUT, Project

pytestmark = pytest.mark.long

PARAMS = "data: mnist_sample\nexperiment: debug\naugment: shift\nset: {model.dropout: 0.3}\n"
KILLS = int(os.environ.get("KILLS", "40"))  # of each stage
# The stages are forked from a process that has already made the imports. Otherwise most kills would
# hit the imports.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tensorflow", "keras", "mlflow", "mlflow.keras", "matplotlib.pyplot"])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project.trained(tmp_path_factory.mktemp("kills"), PARAMS)


def run_stage(stage: str, folder: Path, begins: Event) -> None:
    """Run a stage in this process, as `dvc repro` does in another one."""
    os.chdir(folder)
    # With this module come most of the modules that the stages import.
    importlib.import_module("pipeline.training.run_completion")
    begins.set()
    os.environ["DVC_ROOT"] = str(folder)
    sys.argv = [stage]
    with Path(os.devnull).open("w") as silence:
        os.dup2(silence.fileno(), 1)
    runpy.run_module(f"pipeline.{stage}", run_name="__main__")


def start(stage: str, project: Project) -> multiprocessing.process.BaseProcess:
    begins = FORKS.Event()
    process = FORKS.Process(target=run_stage, args=(stage, project.folder, begins))
    process.start()
    assert begins.wait(60)
    return process


def remove(path: Path) -> None:
    """Remove a stage's output, as DVC does before it runs the stage."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def files(path: Path) -> dict[str, bytes]:
    """The complete files. Those that killed processes left begin with a dot."""
    return {
        str(file): file.read_bytes()
        for file in (path, *path.rglob("*"))
        if file.is_file() and not file.name.startswith(".")
    }


@pytest.mark.parametrize("stage", OUTPUT)
def test_killed_stage_leaves_nothing_half_written(project: Project, stage: str) -> None:
    output = project.folder / OUTPUT[stage]
    whole = files(output)
    moments = random.Random(stage)
    process = start(stage, project)
    started = time.monotonic()
    process.join()
    assert process.exitcode == 0
    duration = time.monotonic() - started
    ends: Counter[str] = Counter()
    while ends["killed"] < KILLS:
        remove(output)
        process = start(stage, project)
        process.join(moments.uniform(0, duration))
        process.kill()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        ends["killed" if process.exitcode else "done"] += 1
        if process.exitcode == 0:
            shutil.rmtree(project.folder / ".checkpoints", ignore_errors=True)  # start again
        left = files(output)
        assert left.items() <= whole.items()
        assert process.exitcode or left == whole
    process = start(stage, project)
    process.join()
    assert process.exitcode == 0
    assert files(output) == whole
    assert not list(output.glob(".*")), "what killed processes left is removed"
    print(f"{stage}: {dict(ends)}, {duration:.1f} s uninterrupted")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_training_stopped_at_any_moment_is_marked(project: Project, number: signal.Signals) -> None:
    """A signal that is raised within TensorFlow or the store would be lost."""
    store = mlflow.MlflowClient(f"sqlite:///{project.folder}/mlflow.db")
    experiments = [found.experiment_id for found in store.search_experiments()]
    moments = random.Random(int(number))
    ends: Counter[str] = Counter()
    exitcode: int | None = 1
    while ends["stopped"] < KILLS or exitcode:
        if not exitcode:
            shutil.rmtree(project.folder / ".checkpoints", ignore_errors=True)  # start again
        remove(project.folder / "models")
        process = start("train", project)
        process.join(moments.uniform(0.2, 4))
        if process.is_alive() and ends["stopped"] < KILLS:
            assert process.pid is not None
            os.kill(process.pid, number)
        process.join()
        exitcode = process.exitcode
        assert exitcode in (0, 128 + number)
        statuses = Counter(run.info.status for run in store.search_runs(experiments))
        trained = statuses["SCHEDULED"] + statuses["FINISHED"]  # without, with test results
        assert trained >= statuses.total() - 1, statuses
        assert statuses["KILLED"] == (trained < statuses.total()), statuses
        ends["stopped" if exitcode else "done"] += 1
    assert statuses["KILLED"] == 0
    print(f"{number.name}: {dict(ends)}")


RUNS = """
import json, mlflow
client = mlflow.MlflowClient()
runs = mlflow.search_runs(search_all_experiments=True, output_format="list")
models = client.search_logged_models(list({run.info.experiment_id for run in runs}))
print(json.dumps([
    [run.info.status,
     [m.step for m in client.get_metric_history(run.info.run_id, "val_loss")],
     [str(m.status) for m in models if m.source_run_id == run.info.run_id]]
    for run in runs
]))
"""


def test_each_run_is_complete(project: Project) -> None:
    """After all these kills: no run is lost or still running, and no epoch is logged twice."""
    project.run("dvc", "repro", "--force", "--single-item", "train")
    runs = json.loads(project.python(RUNS))
    assert all(run[0] in ("SCHEDULED", "FINISHED") for run in runs), runs
    assert all(run[1:] == [[1, 2], ["READY"]] for run in runs), runs
    versions = project.python(
        "import mlflow; print(*(v.source for v in mlflow.MlflowClient().search_model_versions()))"
    ).split()
    assert len(versions) == len(set(versions))


def test_killed_dvc_repro_succeeds_in_the_end(project: Project, tmp_path: Path) -> None:
    killed = Project.copy(tmp_path / "killed", PARAMS)
    moments = random.Random("repro")
    done = 0
    while done < KILLS // 4:
        # What `make repro` does. DVC's own lock may be left unreadable.
        killed.run("python", "-m", "pipeline.repair")
        process = killed.start("dvc", "repro", *(["--force"] if moments.random() < 0.3 else []))
        try:
            process.communicate(timeout=moments.uniform(0, 25))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            done += 1
        assert process.returncode in (0, -signal.SIGKILL)
    killed.run("make", "-o", ".venv/.requirements.txt.ready", "repro")
    assert killed.read("dvc.lock") == project.read("dvc.lock")


def test_killed_sweep_ends_with_exactly_its_trials(tmp_path: Path) -> None:
    """A worker, or the command itself, is killed ten times in one sweep."""
    raw = tiny.write_raw(tmp_path / "raw", tiny.split(150), tiny.split(60, seed=1))
    project = sweeps.project(tmp_path / "project", raw)
    again = ["python", "-m", "pipeline.sweep", "sweep=tiny", "train.epochs=30", "sweep.trials=60"]
    moments = random.Random("sweep")
    killed: Counter[str] = Counter()
    process = project.start(*again)
    while killed.total() < 10:
        try:
            output, _ = process.communicate(timeout=moments.uniform(0, 20))
        except subprocess.TimeoutExpired:
            workers = sweeps.workers(process)
            victim = "worker" if workers and moments.random() < 0.5 else "sweep"
            killed[victim] += 1
            if victim == "worker":
                moments.choice(workers).kill()
                continue
            process.kill()
            process.communicate()
            psutil.wait_procs(workers, timeout=20)
        else:
            raise AssertionError(f"the sweep ended before ten kills: {output}")
        process = project.start(*again)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    sweeps.check(project, "tiny", 60)
    print(f"{dict(killed)} killed")
