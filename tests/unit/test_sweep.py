"""What the command does is tested in tests/system; here is what it refuses."""

from pathlib import Path

import pytest

from tests.helpers.commands import assert_error, assert_help, assert_usage_error
from tests.helpers.configs import write_params


def test_help_has_examples(tmp_path: Path) -> None:
    assert_help("sweep", tmp_path, "sweep=depth sweep.trials=30", "train.epochs=3")


def test_unknown_option_is_a_usage_error(tmp_path: Path) -> None:
    assert_usage_error("sweep", tmp_path, "--trials", message="unrecognized arguments: --trials")


@pytest.mark.slow
def test_missing_params_file_is_one_line(tmp_path: Path) -> None:
    assert_error("sweep", tmp_path, message="params.yaml is missing")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("sweep=dept", "sweep=dept (the command line): "),
        ("sweep.trails=3", "sweep.trails (the command line): "),
        ("train.epohcs=3", "train.epohcs (the command line): "),
        ("train.seed=-1", "train.seed (the command line): "),
    ],
)
def test_mistake_is_one_line_and_writes_nothing(
    tmp_path: Path, argument: str, message: str
) -> None:
    write_params(tmp_path, "{}\n")
    assert_error("sweep", tmp_path, argument, message=message)
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]
