from pathlib import Path

import pytest

from pipeline.system.errors import UserError
from pipeline.system.git import ask_git, file_content, file_names, git, reflog, text_at
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
    assert text_at("HEAD", "code.py") == "code.py as committed\n"
    assert text_at("HEAD", "nosuch") is text_at("nosuch", "code.py") is None


def test_text_of_a_file_below_another_folder(
    repository: Repository,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    repository.write("inner/a.txt", "ä\n")
    repository.commit()
    folder = Path.cwd() / "inner"
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert text_at("HEAD", "a.txt", folder) == "ä\n"
    assert text_at("HEAD", "a.txt") is None


def test_reflog_is_newest_first(repository: Repository) -> None:
    first = repository.git("rev-parse", "HEAD")
    repository.write("code.py", "two words @{3}\n")
    second = repository.commit()
    newer, older = reflog("HEAD")
    assert (newer.commit, newer.message) == (second, "commit: test")
    assert (older.commit, older.message) == (first, "commit (initial): test")
    assert newer.time >= older.time > 1_700_000_000
    assert reflog("refs/stash") == []
