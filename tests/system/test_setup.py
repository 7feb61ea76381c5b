"""The set-up when it is killed, and when several start at once. The requirements are empty."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipeline.config.paths import REPOSITORY

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the Makefile, the command, and a lock that names no package."""
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline/__init__.py").touch()
    for name in ("Makefile", "pipeline/setup.py"):
        shutil.copy(REPOSITORY / name, tmp_path / name)
    (tmp_path / "pipeline/plots_page.py").write_text("print('built')\n")
    (tmp_path / "requirements.txt").write_text("# empty\n")
    return tmp_path


def start(project: Path) -> "subprocess.Popen[str]":
    command = ["make", f"PYTHON={sys.executable}", "setup"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, cwd=project, text=True, **pipes)  # type: ignore[call-overload]


def test_two_at_once_make_it_once(project: Path) -> None:
    both = [start(project), start(project)]
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert sorted(output.count("built") for output in outputs) == [0, 1]
    assert sum("another process makes .venv: waiting" in output for output in outputs) == 1
    assert (project / ".venv/bin/pip").exists()


def test_after_a_kill_the_next_waits_for_what_was_left(project: Path) -> None:
    killed = start(project)
    deadline = time.monotonic() + 60
    while not (project / ".venv/bin/python").exists():  # ensurepip is next
        assert time.monotonic() < deadline
        time.sleep(0.01)
    family = psutil.Process(killed.pid).children(recursive=True)
    [command] = [child for child in family if "pipeline/setup.py" in child.cmdline()]
    left = command.children(recursive=True)
    assert left
    for process in (command, killed):
        process.send_signal(signal.SIGKILL)
    killed.wait()
    again = start(project)
    output, _ = again.communicate(timeout=120)
    assert again.returncode == 0, output
    assert "another process makes .venv: waiting" in output
    assert output.count("built") == 1
    assert not any(process.is_running() for process in left)


def test_step_that_fails_leaves_no_environment_that_counts(project: Path) -> None:
    (project / "requirements.txt").write_text("no-such-package==1\n")  # without a hash
    failed = start(project)
    output, _ = failed.communicate(timeout=120)
    assert failed.returncode == 2
    assert "error: .venv is not complete: " in output
    assert not (project / ".venv/.requirements.txt.ready").exists()
    (project / "requirements.txt").write_text("# empty\n")
    assert start(project).wait(timeout=120) == 0
