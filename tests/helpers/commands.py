"""Run the commands of the pipeline as a user does: `python -m pipeline.<name>`."""

import subprocess
import sys
from pathlib import Path

from tests.helpers.project import REPOSITORY


def run_command(name: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, and return its exit status and what it printed."""
    return subprocess.run(
        [sys.executable, "-m", f"pipeline.{name}", *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def assert_help(name: str, folder: Path, *parts: str) -> None:
    """Assert that `--help` of a command prints all of `parts` and does nothing."""
    before = sorted(folder.iterdir())
    result = run_command(name, folder, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert [part for part in parts if part not in result.stdout] == [], result.stdout
    assert sorted(folder.iterdir()) == before


def assert_error(name: str, folder: Path, *arguments: str, message: str) -> None:
    """Assert that a command fails with one line on stderr which begins with `error: message`."""
    result = run_command(name, folder, *arguments)
    assert (result.returncode, result.stdout) == (1, ""), result.stderr
    assert result.stderr.startswith(f"error: {message}")
    assert result.stderr.count("\n") == 1


def assert_usage_error(name: str, folder: Path, *arguments: str, message: str) -> None:
    """Assert that a command refuses its arguments: argparse's usage, then `message`."""
    result = run_command(name, folder, *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("usage: ")
    assert message in result.stderr.splitlines()[-1]
