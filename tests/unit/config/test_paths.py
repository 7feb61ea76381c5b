from pathlib import Path

import pytest

from pipeline.config.paths import (
    CONF,
    REPOSITORY,
    config_groups,
    git_hint,
    options_of,
    repository_root,
)


def test_root_is_the_real_repository_of_a_queued_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert repository_root() == REPOSITORY
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert repository_root() == tmp_path


def test_repository_holds_conf_and_the_pipeline() -> None:
    assert (REPOSITORY / "dvc.yaml").is_file()
    assert (CONF / "config.yaml").is_file()


def test_groups_are_the_folders_at_any_depth(tmp_path: Path) -> None:
    (tmp_path / "model/large").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "config.yaml").touch()
    assert config_groups(tmp_path) == {"data", "model", "model/large"}


def test_options_are_the_yaml_files_in_alphabetical_order(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    for name in ("rnn.yaml", "cnn.yaml", "notes.txt"):
        (tmp_path / "model" / name).touch()
    assert options_of("model", tmp_path) == ["cnn", "rnn"]
    assert options_of("no such group", tmp_path) == []


def test_file_that_only_the_real_repository_has_must_be_added_to_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.py").touch()
    (tmp_path / "README.md").touch()
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert git_hint("own.py").endswith("this experiment has no copy of it: `git add own.py`")
    assert git_hint("README.md") == git_hint("none.py") == ""
    monkeypatch.delenv("DVC_ROOT")
    assert git_hint("own.py") == ""
