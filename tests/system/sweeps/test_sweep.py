"""Sweeps with the real tools on the tiny data set. However they are stopped, they end complete."""

import csv
import os
import pty
import re
import signal
import subprocess
import termios
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pipeline.training.history import best_epoch
from tests.helpers import server, sweeps, tiny
from tests.helpers.project import Project
from tests.helpers.sweeps import check, finished, runs, trials, workers

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that has prepared the tiny data set. Its trainings take a moment."""
    folder = tmp_path_factory.mktemp("sweep")
    raw = tiny.write_raw(folder / "raw", tiny.split(150), tiny.split(60, seed=1))
    (folder / "project").mkdir()
    project = sweeps.project(folder / "project", raw)
    project.run("dvc", "repro", "prepare")
    return project


def command(*arguments: str) -> list[str]:
    return ["python", "-m", "pipeline.sweep", "sweep=tiny", *arguments]


def test_sweep_prunes_records_failures_and_resumes(project: Project) -> None:
    make = ["make", "-o", ".venv/.requirements.txt.ready", "sweep", "SWEEP=tiny"]
    output = project.run(*make, "TRIALS=10", "WORKERS=2", "ARGS=model.activation=relu")
    assert output.count("\ntrial ") == 10
    assert "WARNING" not in output, "trials print nothing of their own"
    check(project, "tiny", 10)
    ended = finished(project, "tiny")
    states = Counter(trial["state"] for trial in ended)
    assert all(states[state] for state in ("COMPLETE", "PRUNED", "FAIL")), states
    for trial in ended:
        if trial["state"] == "FAIL":
            assert "the loss is" in trial["attrs"]["failure"]
            assert trial["params"]["optimizer.learning_rate"] == 3e38
        if trial["state"] == "COMPLETE":
            assert trial["value"] == best_epoch(trial["attrs"]["history"])["val_loss"]
    # The same command with as many trials does nothing; with more it keeps the earlier ones.
    assert "\ntrial " not in project.run(*command("sweep.trials=10"))
    shown = _on_terminal(project, *command())
    assert len(re.findall(r"(?<!best is )trial \d+: ", shown)) == 2
    assert re.search(r"tiny 12/12 .*, best \d\.\d+ \(trial \d+\)", shown)
    check(project, "tiny", 12)
    assert finished(project, "tiny")[:10] == ended
    parent, children = runs(project, "tiny")
    assert {"trials.csv", "history.png", "slices.png"} <= set(parent["artifacts"])
    assert {run["tags"]["process.id"] for run in children} != {parent["tags"]["process.id"]}
    complete = [t for t in finished(project, "tiny") if t["state"] == "COMPLETE"]
    best = min(complete, key=lambda trial: trial["value"])
    assert parent["tags"]["best.trial"] == str(best["number"])
    child = children[0]
    assert child["params"]["model.depth"] == "1"
    assert child["params"]["train.threads"] == str(max(len(os.sched_getaffinity(0)) // 2, 1))
    assert {"seed.init", "model.width", "optimizer.learning_rate"} <= set(child["params"])
    with (project.folder / ".sweeps/tiny/results/trials.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 12


def _on_terminal(project: Project, *command: str) -> str:
    """Run a command on a terminal; return what the terminal received."""
    reader, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (40, 200))
    process = subprocess.Popen(
        command,
        cwd=project.folder,
        env=project.environment(),
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    shown = b""
    with suppress(OSError):  # how Linux reports that the process has ended
        while part := os.read(reader, 4096):
            shown += part
    os.close(reader)
    assert process.wait() == 0, shown.decode()
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.long
def test_other_settings_under_the_same_name_are_refused(project: Project) -> None:
    project.run(*command("sweep.name=asked", "sweep.trials=1"))
    for change in ("train.epochs=2", "model.activation=tanh", "prepare.seed=1"):
        output = project.run(*command("sweep.name=asked", "sweep.trials=2", change), status=1)
        assert (
            "error: the sweep asked was started with a different search space or settings" in output
        )
        assert (change.split("=")[0] if "prepare" not in change else "data") in output
    assert len(finished(project, "asked")) == 1


def test_mistake_is_one_line_before_any_trial(project: Project) -> None:
    for argument in (
        "sweep.trails=3",
        "model.width=8",
        "sweep.params.model.depht='range(1,3)'",
        "sweep.pruner={_target_: optuna.pruners.NopPruner}",  # merged with the default's
        "sweep.sampler._target_=optuna.pruners.NopPruner",
    ):
        output = project.run(*command("sweep.name=mistake", argument), status=1)
        assert output.startswith("error: ")
        assert output.count("\n") == 1
    assert not (project.folder / ".sweeps/mistake/journal").exists()


@pytest.mark.long
def test_sweep_with_too_many_failures_stops(project: Project) -> None:
    output = project.run(
        *command("sweep.name=failing", "sweep.max_failed_fraction=0.1", "sweep.trials=90"),
        status=1,
    )
    assert "trials failed, more than sweep.max_failed_fraction, 0.1" in output
    assert "the loss is" in output.splitlines()[-1]
    assert runs(project, "failing")[0]["status"] == "FAILED"


def test_killed_workers_and_parents_lose_no_trial(project: Project) -> None:
    """Kill a worker, then the parent, then press Ctrl-C; the same command resumes each time."""
    again = command("sweep.name=killed", "sweep.trials=10")
    process = project.start(*again)
    _wait_for_trials(process, 2)
    workers(process)[0].kill()
    _wait_for_trials(process, 2)  # the sweep continues
    orphans = workers(process)
    results = project.folder / ".sweeps/killed/results"
    assert (results / "trials.csv").exists(), "the table is written meanwhile"
    assert not (results / "history.png").exists()
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(orphans, timeout=20)
    assert not alive, "workers end with their parent"
    process = project.start(*again)
    _wait_for_trials(process, 2)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert output.splitlines()[-1] == "interrupted"
    assert len(finished(project, "killed")) >= 6
    assert len((results / "trials.csv").read_text().splitlines()) == 1 + len(
        finished(project, "killed")
    )
    assert (results / "history.png").exists()
    assert runs(project, "killed")[0]["status"] == "KILLED"
    project.run(*again)
    check(project, "killed", 10)
    assert any(t["attrs"].get("discarded") == "its worker died" for t in trials(project, "killed"))


def _wait_for_trials(process: "subprocess.Popen[str]", count: int) -> None:
    """Read what a sweep prints until `count` trials have ended."""
    assert process.stdout is not None
    output = []
    for line in process.stdout:
        output.append(line)
        count -= line.startswith("trial ")
        if count == 0:
            return
    raise AssertionError("".join(output))


@pytest.mark.long
def test_sweep_survives_the_loss_of_the_tracking_server(project: Project, tmp_path: Path) -> None:
    port, secret = server.free_port(), "-".join(["planted", "secret"])
    variables = server.variables(port)
    variables["MLFLOW_TRACKING_URI"] = f"http://me:{secret}@127.0.0.1:{port}"
    remote = Project(project.folder, variables)
    again = command("sweep.name=away", "sweep.trials=6")
    with server.mlflow(tmp_path / "server", port) as tracking, remote.start(*again) as process:
        _wait_for_trials(process, 2)
        server.end(tracking)
        assert process.stdout is not None
        output = process.stdout.read()
    assert process.returncode == 0, output
    assert "warning: tracking is incomplete" in output
    assert "Traceback" not in output
    ended = finished(remote, "away")
    assert len(ended) == 6
    with server.mlflow(tmp_path / "server", port):
        completed = remote.run(*again)
        assert "\ntrial " not in completed
        check(remote, "away", 6)
    assert finished(remote, "away") == ended
    assert secret not in output + completed, "MLflow prints the address of each run"
    for folder in (project.folder, tmp_path / "server"):
        files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        assert [path for path in files if secret.encode() in path.read_bytes()] == []


@pytest.mark.long
def test_sweep_ends_when_trials_are_no_better(project: Project) -> None:
    again = command("sweep.name=patient", "sweep.trials=60", "sweep.patience=3", "sweep.workers=1")
    output = project.run(*again)
    ended_by = (
        r"patient: ended by sweep.patience: the 3 trials that ended after trial \d+ are no better"
    )
    assert re.search(ended_by, output)
    ended = finished(project, "patient")
    assert 4 <= len(ended) < 60
    assert "\ntrial " not in project.run(*again)
    check(project, "patient", len(ended))


@pytest.mark.long
def test_seeds_are_replicates(project: Project) -> None:
    output = project.run("python", "-m", "pipeline.sweep", "sweep=seeds", "sweep.trials=3")
    assert "standard deviation" in output
    assert "3 seeds" in output
    values = [trial["value"] for trial in finished(project, "seeds")]
    assert f"mean {sum(values) / 3:.4f}" in output
    assert "best is" not in output
    refused = project.run("python", "-m", "pipeline.promote", "seeds", status=1)
    assert "error: seeds: its trials differ only in their seeds" in refused
