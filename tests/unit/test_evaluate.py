"""What the command does is tested in tests/system; here is what it refuses."""

from pathlib import Path

import pytest

from pipeline.config.composition import compose
from pipeline.config.yaml_files import save_config
from tests.helpers.commands import assert_error, assert_help


def test_help_says_what_the_command_does(tmp_path: Path) -> None:
    assert_help("evaluate", tmp_path, "test images", "params.yaml")


@pytest.mark.slow
def test_setting_on_the_command_line_is_one_line(tmp_path: Path) -> None:
    message = "train.epochs=3: this command takes its settings from composed.yaml; change params"
    assert_error("evaluate", tmp_path, "train.epochs=3", message=message)


def test_missing_composed_file_is_one_line(tmp_path: Path) -> None:
    assert_error("evaluate", tmp_path, message="composed.yaml is missing: run `dvc repro compose`")


@pytest.mark.slow
def test_mistake_in_the_composed_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "composed.yaml").write_text("train: {}\n")
    assert_error("evaluate", tmp_path, message="")
    assert [path.name for path in tmp_path.iterdir()] == ["composed.yaml"]


@pytest.mark.slow
def test_damaged_results_of_the_training_are_one_line(tmp_path: Path) -> None:
    save_config(compose(), tmp_path / "composed.yaml")
    metrics, history = tmp_path / "models/metrics.json", tmp_path / "models/history.csv"
    metrics.parent.mkdir()
    metrics.write_text('{"val_loss": 0.1')
    assert_error("evaluate", tmp_path, message="models/metrics.json is damaged: ")
    metrics.write_text('{"val_loss": 0.1, "val_accuracy": 0.9}')
    history.write_bytes(b"\xff\0")
    assert_error("evaluate", tmp_path, message="models/history.csv is damaged: ")
    assert not (tmp_path / "reports").exists()
