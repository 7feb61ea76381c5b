import hashlib
from pathlib import Path

import pytest
import yaml

from tests.helpers.commands import assert_help, run_command
from tests.helpers.shipped import SHIPPED

pytestmark = pytest.mark.slow


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text("set: {train: {epochs: 7}}\n")
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_params_are_composed_into_one_file(workspace: Path) -> None:
    result = run_command("compose", workspace)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert names(workspace) == ["composed.yaml", "params.yaml"]
    first = (workspace / "composed.yaml").read_bytes()
    assert yaml.safe_load(first)["train"]["epochs"] == 7
    run_command("compose", workspace)
    assert (workspace / "composed.yaml").read_bytes() == first


def test_mistake_writes_nothing(workspace: Path) -> None:
    (workspace / "params.yaml").write_text("trian: {epochs: 7}\n")
    result = run_command("compose", workspace)
    assert result.returncode == 1
    assert result.stderr.startswith("error: trian (params.yaml): ")
    assert result.stderr.count("\n") == 1
    assert names(workspace) == ["params.yaml"]


def test_show_prints_the_configuration_and_writes_nothing(workspace: Path) -> None:
    result = run_command("compose", workspace, "model=mlp", "--show")
    assert result.returncode == 0, result.stderr
    shown = yaml.safe_load(result.stdout)
    assert shown["model"]["_target_"] == "pipeline.models.mlp"
    assert shown["train"]["epochs"] == 7
    assert names(workspace) == ["params.yaml"]


def test_groups_lists_the_groups_and_their_choices(workspace: Path) -> None:
    result = run_command("compose", workspace, "--groups")
    assert result.returncode == 0, result.stderr
    listed = dict(line.split(": ") for line in result.stdout.splitlines())
    for group, choices in SHIPPED.items():
        assert {*choices} <= {*listed[group].split(", ")}
    assert names(workspace) == ["params.yaml"]


def test_wrong_choice_with_a_flag_is_one_line(workspace: Path) -> None:
    result = run_command("compose", workspace, "model=mpl", "--show")
    assert result.returncode == 1
    assert result.stderr.startswith("error: model=mpl (the command line): ")
    assert result.stderr.count("\n") == 1


def test_help_has_examples(workspace: Path) -> None:
    assert_help("compose", workspace, "model=mlp --show", "--groups")


def test_initial_model_has_its_digest(workspace: Path) -> None:
    """So `dvc repro` trains again when the file has changed."""
    (workspace / "params.yaml").write_text("set: {train: {init_from: first.keras}}\n")
    (workspace / "first.keras").write_bytes(b"model")
    result = run_command("compose", workspace)
    assert result.returncode == 0, result.stderr
    composed = yaml.safe_load((workspace / "composed.yaml").read_text())
    assert composed["initial_model"] == hashlib.sha256(b"model").hexdigest()
    (workspace / "first.keras").unlink()
    result = run_command("compose", workspace)
    assert result.returncode == 1
    assert result.stderr.startswith("error: train.init_from: there is no model file first.keras")
