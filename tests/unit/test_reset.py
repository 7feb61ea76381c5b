"""What is restored and refused; tests/system/pipeline/test_reset.py has DVC and kills."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.reset import check_out_outputs, check_repository, restore
from pipeline.system.errors import UserError
from tests.helpers.commands import assert_error, assert_help, assert_usage_error
from tests.helpers.git import Repository


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.chdir(tmp_path)
    return Repository(tmp_path)


def test_params_are_restored_and_can_come_back(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.write("params.yaml", "model: mlp\n")
    repository.write("dvc.lock", "stages: [")
    repository.write("code.py", "mine\n")
    repository.git("add", "params.yaml", "code.py")
    restore("HEAD")
    printed = capsys.readouterr().out
    assert "params.yaml: undone\n    -params.yaml as committed\n    +model: mlp\n" in printed
    assert "dvc.lock: undone\n    to get it back" in printed
    assert repository.git("status", "--short") == "M  code.py"
    [blob] = re.findall(r"git cat-file blob (\w+) > params.yaml", printed)
    assert repository.git("cat-file", "blob", blob) == "model: mlp"
    restore("HEAD")
    assert capsys.readouterr().out == ""


def test_staged_change_is_restored_even_if_the_file_is_not_changed(repository: Repository) -> None:
    committed = repository.read("params.yaml")
    repository.write("params.yaml", "model: mlp\n")
    repository.git("add", "params.yaml")
    repository.write("params.yaml", committed)
    restore("HEAD")
    assert repository.git("status", "--short") == ""


def test_deleted_files_are_restored(repository: Repository) -> None:
    repository.git("rm", "--quiet", "params.yaml", "dvc.lock")
    restore("HEAD")
    assert repository.git("status", "--short") == ""


def test_lock_that_the_commit_does_not_have_is_removed(
    repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.git("rm", "--quiet", "dvc.lock")
    repository.commit()
    repository.write("dvc.lock", "new\n")
    restore("HEAD")
    check_out_outputs()
    printed = capsys.readouterr().out
    assert "git cat-file blob" in printed
    assert "`make repro`" in printed
    assert not (tmp_path / "dvc.lock").exists()


def test_older_commit_is_restored_and_shows_in_git(repository: Repository) -> None:
    repository.write("params.yaml", "model: mlp\n")
    repository.commit()
    restore("HEAD~1")
    assert repository.read("params.yaml") == "params.yaml as committed\n"
    assert repository.git("status", "--short") == " M params.yaml"


def test_outputs_in_git_are_restored(repository: Repository) -> None:
    repository.write("reports/metrics.json", "{}\n")
    repository.commit()
    repository.write("reports/metrics.json", "[]\n")
    restore("HEAD")
    assert repository.read("reports/metrics.json") == "{}\n"


@pytest.mark.slow
def test_error_of_dvc_is_one_line(repository: Repository) -> None:
    repository.write(".dvc/config", "[core\n")
    with pytest.raises(
        UserError, match=r"^`dvc checkout` failed: configuration error [^\n]{1,200}$"
    ):
        check_out_outputs()


Make = Callable[[Repository], object]


@pytest.mark.parametrize(
    ("make", "revision", "message"),
    [
        (lambda r: r.write(".git/MERGE_HEAD", "1" * 40), "HEAD", "a merge is in progress"),
        (lambda r: r.write(".git/rebase-merge/x", ""), "HEAD", "a rebase is in progress"),
        (lambda r: None, "nosuch", "no commit 'nosuch'"),
        (lambda r: r.git("update-ref", "-d", "HEAD"), "HEAD", "the git repository has no commit"),
        (lambda r: (r.git("rm", "params.yaml"), r.commit()), "HEAD", "HEAD has no params.yaml"),
    ],
    ids=["merge", "rebase", "no such commit", "no commit", "no params"],
)
def test_what_cannot_be_restored_is_refused(
    repository: Repository, make: Make, revision: str, message: str
) -> None:
    make(repository)
    with pytest.raises(UserError, match=f"^{message}"):
        check_repository(revision)


def test_folder_without_git_is_one_line(tmp_path: Path) -> None:
    assert_error("reset", tmp_path, message="this folder is not in a git repository")


def test_help_has_examples(tmp_path: Path) -> None:
    assert_help("reset", tmp_path, "python -m pipeline.reset HEAD~1", "params.yaml")


def test_unknown_argument_is_a_usage_error(tmp_path: Path) -> None:
    assert_usage_error("reset", tmp_path, "a", "b", message="unrecognized arguments: b")
