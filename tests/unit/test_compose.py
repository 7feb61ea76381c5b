import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.config.paths import REPOSITORY


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline.compose", *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text("train: {epochs: 7}\n")
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_composes_params_into_one_file(workspace: Path) -> None:
    result = run(workspace)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert names(workspace) == ["composed.yaml", "params.yaml"]
    first = (workspace / "composed.yaml").read_bytes()
    assert yaml.safe_load(first)["train"]["epochs"] == 7
    run(workspace)
    assert (workspace / "composed.yaml").read_bytes() == first


def test_mistake_writes_nothing(workspace: Path) -> None:
    (workspace / "params.yaml").write_text("trian: {epochs: 7}\n")
    result = run(workspace)
    assert result.returncode == 1
    assert result.stderr.startswith("error: trian.epochs (params.yaml): ")
    assert result.stderr.count("\n") == 1
    assert names(workspace) == ["params.yaml"]


def test_show_prints_what_overrides_would_give(workspace: Path) -> None:
    result = run(workspace, "model=mlp", "--show")
    assert result.returncode == 0, result.stderr
    shown = yaml.safe_load(result.stdout)
    assert shown["model"]["_target_"] == "pipeline.models.mlp"
    assert shown["train"]["epochs"] == 7
    assert names(workspace) == ["params.yaml"]


def test_groups_lists_the_groups_and_their_choices(workspace: Path) -> None:
    result = run(workspace, "--groups")
    assert result.returncode == 0, result.stderr
    for group in ("model: cnn, mlp, rnn, softmax", "experiment: debug, default, first_network"):
        assert group in result.stdout
    assert names(workspace) == ["params.yaml"]


def test_wrong_choice_with_a_flag_is_one_line_too(workspace: Path) -> None:
    result = run(workspace, "model=mpl", "--show")
    assert result.returncode == 1
    assert result.stderr.startswith("error: model=mpl (the command line): ")
    assert result.stderr.count("\n") == 1
