from pathlib import Path

import pytest

from pipeline.system.errors import UserError
from pipeline.system.git import ask_git, file_content, file_names, git, reflog
from tests.helpers.git import Repository


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.chdir(tmp_path)
    return Repository(tmp_path)


def test_failure_is_one_line(repository: Repository) -> None:
    with pytest.raises(UserError, match=r"^`git show nosuch` failed: fatal: [^\n]*$"):
        git("show", "nosuch")
    assert ask_git("show", "nosuch") == ""


def test_names_with_spaces_signs_and_letters(repository: Repository) -> None:
    names = ["*.txt", "a b.txt", "ä.txt"]
    for name in names:
        repository.write(name, "new")
    assert file_names("ls-files", "-z", "--others") == names
    assert file_names("ls-files", "-z", "--others", "--", "*.txt") == ["*.txt"]


def test_content_of_a_file(repository: Repository) -> None:
    assert file_content("HEAD", "code.py") == b"code.py as committed\n"
    assert file_content("HEAD", "nosuch") == b""


def test_reflog_is_newest_first(repository: Repository) -> None:
    first = repository.git("rev-parse", "HEAD")
    repository.write("code.py", "two words @{3}\n")
    second = repository.commit()
    newer, older = reflog("HEAD")
    assert (newer.commit, newer.message) == (second, "commit: test")
    assert (older.commit, older.message) == (first, "commit (initial): test")
    assert newer.time >= older.time > 1_700_000_000
    assert reflog("refs/stash") == []
