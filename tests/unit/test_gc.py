"""The command. What is garbage is tested in tests/unit/garbage."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from tests.helpers.commands import assert_help, assert_usage_error
from tests.helpers.project import REPOSITORY

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "pipeline.gc"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project without an MLflow store that has 1,500 bytes of garbage."""
    (tmp_path / ".checkpoints/a").mkdir(parents=True)
    (tmp_path / ".checkpoints/a/finished").write_text("x" * 1500)
    (tmp_path / "mlruns").mkdir()
    return tmp_path


def environment(root: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin", "DVC_ROOT": str(root)}


def run(root: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=root,
        env={**environment(root), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def answer(root: Path, text: str) -> str:
    """Run the command in a terminal, and answer its question; return what it prints."""
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        COMMAND, cwd=root, env=environment(root), stdin=end, stdout=subprocess.PIPE, text=True
    )
    os.write(terminal, text.encode())
    printed = process.communicate(timeout=60)[0]
    for descriptor in (terminal, end):
        os.close(descriptor)
    assert process.returncode == 0
    return printed


def test_list_comes_first(root: Path) -> None:
    shown = run(root, "--dry-run")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout == (
        "checkpoints that no training resumes: 1, 1.5 kB\n"
        "       1.5 kB  .checkpoints/a\n"
        "left alone: mlruns: there is no mlflow.db to say which artifacts are in use\n"
        "DVC's cache is left to DVC: dvc gc --all-commits --all-experiments --dry\n"
        "in all: 1, 1.5 kB\n"
    )
    assert (root / ".checkpoints/a").exists()
    removed = run(root)
    assert (removed.returncode, removed.stderr) == (0, "")
    assert removed.stdout == f"{shown.stdout}removed: 1, 1.5 kB\n"
    assert not (root / ".checkpoints/a").exists()
    assert run(root, "--yes").stdout.endswith("nothing to remove\n")


def test_terminal_is_asked(root: Path) -> None:
    for no in ("\n", "\x04"):  # Enter and Ctrl-D
        assert answer(root, no).endswith("Remove all of it? [y/N] nothing was removed\n")
    assert (root / ".checkpoints/a").exists()
    assert answer(root, "y\n").endswith("removed: 1, 1.5 kB\n")
    assert not (root / ".checkpoints/a").exists()


def test_store_elsewhere_is_left_alone(root: Path) -> None:
    (root / "mlruns" / ("1" * 32) / "artifacts").mkdir(parents=True)
    shown = run(root, MLFLOW_TRACKING_URI="http://name:secret@127.0.0.1:1")
    assert shown.returncode == 0
    assert "left alone: MLflow's runs and artifacts: `mlflow gc` removes them" in shown.stdout
    assert "secret" not in shown.stdout + shown.stderr
    assert (root / "mlruns" / ("1" * 32)).exists()
    assert not (root / ".checkpoints/a").exists()


def test_working_process_is_not_disturbed(root: Path) -> None:
    code = "import time; print(flush=True); time.sleep(60)"
    command = [sys.executable, "-c", code, "-m", "pipeline.train"]
    worker = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE)
    try:
        assert worker.stdout
        worker.stdout.readline()
        shown = run(root)
    finally:
        worker.kill()
        worker.communicate()
    assert "left alone: checkpoints, data of sweeps and temporary files, while" in shown.stdout
    assert f"pipeline.train ({worker.pid})\n" in shown.stdout
    assert (root / ".checkpoints/a").exists()


def test_one_at_a_time(root: Path) -> None:
    (root / ".dvc/tmp").mkdir(parents=True)
    with FileLock(root / ".dvc/tmp/gc.lock"):
        refused = run(root)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "error: another `make gc` is running\n"


def test_damaged_store_is_one_line(root: Path) -> None:
    (root / "mlflow.db").write_bytes(b"not a database" * 100)
    refused = run(root)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith(f"error: {root}/mlflow.db cannot be read: ")
    assert refused.stderr.count("\n") == 1
    assert (root / ".checkpoints/a").exists()


def test_help_says_what_goes(tmp_path: Path) -> None:
    assert_help("gc", tmp_path, "--dry-run", "--yes", "registered model")


def test_unknown_argument_is_a_usage_error(tmp_path: Path) -> None:
    assert_usage_error("gc", tmp_path, "now", message="unrecognized arguments: now")
