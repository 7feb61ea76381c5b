"""The commands of README.md and docs/sweeps.md, typed in their order in a clean clone."""

import os
import re
import signal
import stat
import time
import urllib.request
from pathlib import Path

import pytest

from tests.helpers.docs import typed_commands
from tests.helpers.pictures import write_digit
from tests.helpers.project import REPOSITORY, Project
from tests.helpers.shipped import PARAMS

pytestmark = pytest.mark.long

# The other documents need hosts, a server for a team, or ten minutes a command.
TEXT = "".join((REPOSITORY / name).read_text() for name in ("README.md", "docs/sweeps.md"))
PROGRAMS = ("make", "dvc", "python", "mlflow")
SERVERS = ("make draw", "make ui", "mlflow ui", "mlflow models serve")
# What a test of the README cannot run: itself, and what its own tests run.
SKIPPED = {
    "make": "lists the targets",
    "make test": "would run this test",
    "make demo": "the pipeline on the sample, as here",
    "dvc exp run": "a name in a sentence",
    "dvc exp apply NAME": "a placeholder",
    "dvc remote add -d NAME URL": "a placeholder",
    "dvc push": "needs a remote",
    "dvc cache dir --local /a/folder/in/ascii": "a placeholder",
}


@pytest.fixture
def clone(tmp_path: Path) -> Project:
    """A copy of the repository whose MNIST is the installed sample, so that nothing is fetched."""
    project = Project.copy(tmp_path / "clone", PARAMS)
    sample = project.read("conf/data/mnist_sample.yaml")
    project.write("conf/data/mnist.yaml", sample.replace("name: mnist_sample", "name: mnist"))
    project.commit()
    # The environment of this test is ready, so make must not build one.
    make = tmp_path / "bin/make"
    make.parent.mkdir()
    make.write_text('#!/bin/sh\nexec /usr/bin/make -o .venv/.requirements.txt.ready "$@"\n')
    make.chmod(make.stat().st_mode | stat.S_IXUSR)
    path = f"{make.parent}{os.pathsep}{project.environment()['PATH']}"
    return Project(project.folder, {"PATH": path})


def test_every_command_works_in_its_order(clone: Project) -> None:
    typed = [line for line in typed_commands(TEXT) if line.split()[0] in PROGRAMS]
    assert len(typed) > 30
    for line in typed:
        if line in SKIPPED:
            continue
        if line.startswith(SERVERS):
            serve(clone, line)
            continue
        if "predict" in line:
            for name, digit in (("seven.png", 7), ("two.png", 2)):
                write_digit(clone.folder / name, digit)
        if line.startswith("make sweep"):
            line = re.sub(r" TRIALS=\d+", "", line) + " TRIALS=2"
        line = re.sub(r"sweep.trials=\d+", "sweep.trials=2", line)
        clone.run("bash", "-c", line)
        if line.startswith("make repro"):
            clone.commit()
        if "queue start" in line:
            wait_for_queue(clone)
    shown = clone.run("python", "-m", "pipeline.compare")
    assert "softmax" in shown
    assert "Failed" not in shown
    for name in ("build/compare.png", "conf/experiment/best_depth.yaml", "old.keras"):
        assert (clone.folder / name).is_file(), name


def wait_for_queue(clone: Project) -> None:
    deadline = time.monotonic() + 600
    while re.search("Queued|Running", status := clone.run("dvc", "queue", "status")):
        assert time.monotonic() < deadline, status
        time.sleep(2)
    assert "Failed" not in status, status


def serve(clone: Project, line: str) -> None:
    """Start a server, wait until it answers, and stop it."""
    match = re.search(r"(?:-p |PORT=)(\d+)", line)
    port = match[1] if match else "8000" if line.startswith("make draw") else "5000"
    process = clone.start("bash", "-c", f"exec {line}")
    try:
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            try:
                address = f"http://127.0.0.1:{port}/"
                urllib.request.urlopen(f"{address}ping" if "serve" in line else address, timeout=5)
                break
            except OSError:
                time.sleep(1)
        else:
            pytest.fail(f"{line} does not answer")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)
