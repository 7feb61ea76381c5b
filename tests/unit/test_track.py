"""What the command does is tested in tests/system; here is what it refuses."""

from pathlib import Path

import pytest

from pipeline.config.composition import compose
from pipeline.config.yaml_files import save_config
from tests.helpers.commands import assert_error, assert_help, run_command


@pytest.mark.slow
def test_help_says_what_the_command_does(tmp_path: Path) -> None:
    assert_help("track", tmp_path, "MLflow", "params.yaml")


@pytest.mark.slow
def test_setting_on_the_command_line_is_one_line(tmp_path: Path) -> None:
    message = "train.epochs=3: this command takes its settings from composed.yaml; change params"
    assert_error("track", tmp_path, "train.epochs=3", message=message)


def test_missing_composed_file_is_one_line(tmp_path: Path) -> None:
    assert_error("track", tmp_path, message="composed.yaml is missing: run `dvc repro compose`")


def test_mistake_in_the_composed_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "composed.yaml").write_text("train: {}\n")
    assert_error("track", tmp_path, message="")
    assert [path.name for path in tmp_path.iterdir()] == ["composed.yaml"]


@pytest.mark.slow
def test_missing_results_are_one_line(tmp_path: Path) -> None:
    save_config(compose(), tmp_path / "composed.yaml")
    assert_error("track", tmp_path, message="reports/metrics.json ")


DAMAGED = {
    "truncated": '{"test_accuracy": 0.9, "test_lo',
    "empty": "",
    "binary": "\0\1",
    "a list": "[]",
    "other JSON": '{"a": 1}',
    "text": '{"test_accuracy": "0.9", "test_loss": 0.1}',
    "nested": '{"test_accuracy": {"x": 1}, "test_loss": 0.1}',
    "infinite": '{"test_accuracy": Infinity, "test_loss": 0.1}',
    "folder": None,
}


@pytest.mark.slow
@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_results_are_one_line(tmp_path: Path, text: str | None) -> None:
    save_config(compose(), tmp_path / "composed.yaml")
    path = tmp_path / "reports/metrics.json"
    path.parent.mkdir()
    path.mkdir() if text is None else path.write_text(text)
    result = run_command("track", tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("error: reports/metrics.json is damaged: ")
    assert result.stderr.endswith("; `dvc repro` restores it\n")
    assert result.stderr.count("\n") == 1
