"""What the command does is tested in tests/system, its plan in sweeps/test_replicates.py."""

from pathlib import Path

import pytest

from tests.helpers.commands import assert_error, assert_help, assert_usage_error


def test_help_says_what_is_written(tmp_path: Path) -> None:
    assert_help("replicate", tmp_path, "STUDY", "--best", "--seeds", "conf/experiment/")


def test_number_below_one_is_a_usage_error(tmp_path: Path) -> None:
    message = "--best and --seeds need a number of 1 or more"
    assert_usage_error("replicate", tmp_path, "depth", "--best", "0", message=message)


@pytest.mark.slow
def test_unknown_study_is_one_line(tmp_path: Path) -> None:
    assert_error("replicate", tmp_path, "no-such-study", message="no study 'no-such-study' in ")


@pytest.mark.slow
@pytest.mark.parametrize("argument", ["train.epochs=10", "sweep.trials=9", "sweep=depth"])
def test_setting_of_the_trials_is_refused(tmp_path: Path, argument: str) -> None:
    key = argument.partition("=")[0]
    message = f"{key}: it takes only sweep.workers and the keys of the launcher"
    assert_usage_error("replicate", tmp_path, "depth", argument, message=message)


@pytest.mark.slow
def test_launcher_is_accepted(tmp_path: Path) -> None:
    arguments = ("sweep.workers=1", "launcher=local", "launcher.storage=")
    assert_error("replicate", tmp_path, "depth", *arguments, message="no study 'depth' in ")
