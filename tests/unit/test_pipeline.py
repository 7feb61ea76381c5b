"""`python pipeline/NAME.py` works like `python -m pipeline.NAME`; `pip install .` ends well."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config.paths import REPOSITORY
from tests.helpers.commands import run_command
from tests.helpers.project import Project
from tests.unit.test_imports import COMMANDS


def run_file(name: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the file of a command in a folder."""
    return subprocess.run(
        [sys.executable, REPOSITORY / f"pipeline/{name}.py", *arguments],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_file_of_a_command_runs(tmp_path: Path, command: str) -> None:
    result = run_file(command, tmp_path, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("usage: ")


@pytest.mark.slow
def test_file_does_the_same_as_the_module(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("set: {train: {epochs: 7}}\n")
    result = run_file("compose", tmp_path, "model=mlp", "--show")
    assert "epochs: 7" in result.stdout
    assert result.stdout == run_command("compose", tmp_path, "model=mlp", "--show").stdout


@pytest.mark.slow
def test_error_of_a_file_is_one_line(tmp_path: Path) -> None:
    result = run_file("train", tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "error: composed.yaml is missing: run `dvc repro compose` first\n"


@pytest.mark.slow
def test_project_can_be_installed_with_pip(tmp_path: Path) -> None:
    """Its dependencies are; the project runs in its own folder."""
    (tmp_path / "project").mkdir()
    project = Project.copy(tmp_path / "project", "{}\n")
    options = ("--no-build-isolation", "--no-index", "--no-deps", "--target", "../installed", ".")
    project.run("python", "-m", "pip", "install", *options)
    installed = [path.name for path in (tmp_path / "installed").iterdir()]
    assert installed == ["mnist_pipeline-0.1.0.dist-info"]
    assert project.run("git", "status", "--porcelain") == ""
