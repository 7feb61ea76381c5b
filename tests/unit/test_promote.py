"""What the command does is tested in tests/system, its presets in sweeps/test_presets.py."""

from pathlib import Path

import pytest

from tests.helpers.commands import assert_error, assert_help, assert_usage_error


def test_help_says_where_the_study_is(tmp_path: Path) -> None:
    assert_help("promote", tmp_path, "STUDY", "--trial", "--storage")


def test_missing_study_is_a_usage_error(tmp_path: Path) -> None:
    assert_usage_error("promote", tmp_path, message="required: STUDY")


@pytest.mark.slow
def test_unknown_study_is_one_line(tmp_path: Path) -> None:
    assert_error("promote", tmp_path, "no-such-study", message="no study 'no-such-study' in ")
