"""What the command does is tested in tests/system; here is what it refuses."""

from pathlib import Path

import pytest

from tests.helpers.commands import assert_error, assert_help


@pytest.mark.slow
def test_help_says_what_the_command_does(tmp_path: Path) -> None:
    assert_help("train", tmp_path, "Train", "params.yaml")


@pytest.mark.slow
def test_setting_on_the_command_line_is_one_line(tmp_path: Path) -> None:
    message = "train.epochs=3: this command takes its settings from composed.yaml; change params"
    assert_error("train", tmp_path, "train.epochs=3", message=message)


@pytest.mark.slow
def test_missing_composed_file_is_one_line(tmp_path: Path) -> None:
    assert_error("train", tmp_path, message="composed.yaml is missing: run `dvc repro compose`")


def test_mistake_in_the_composed_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "composed.yaml").write_text("train: {}\n")
    assert_error("train", tmp_path, message="")
    assert [path.name for path in tmp_path.iterdir()] == ["composed.yaml"]
