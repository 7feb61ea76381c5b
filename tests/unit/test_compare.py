"""What the command does is tested in tests/system; here is what it refuses."""

import subprocess
from pathlib import Path

import pytest

from tests.helpers.commands import assert_error, assert_help, run_command


def test_help_says_what_a_name_is(tmp_path: Path) -> None:
    assert_help("compare", tmp_path, "workspace", "revision", "experiment", "MLflow run", "HEAD~1")


@pytest.mark.slow
def test_unknown_name_is_one_line_with_the_nearest(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    message = "no revision, experiment, MLflow run or model file 'workspce'; the nearest: workspace"
    assert_error("compare", tmp_path, "workspce", message=message)
    assert not (tmp_path / "build").exists()


@pytest.mark.slow
def test_workspace_without_results_says_so(tmp_path: Path) -> None:
    result = run_command("compare", tmp_path, "workspace")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[1].split() == ["workspace", *"----", "no", "results"]
    assert not (tmp_path / "build").exists()


@pytest.mark.slow
@pytest.mark.parametrize("form", [[], ["--markdown"]])
def test_damaged_result_is_named(tmp_path: Path, form: list[str]) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/history.csv").write_text("damaged\n")
    result = run_command("compare", tmp_path, "workspace", *form)
    assert result.returncode == 1
    assert result.stderr.startswith("error: workspace: models/history.csv is damaged")
    assert result.stderr.count("\n") == 1
