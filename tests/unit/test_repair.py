import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import repair
from pipeline.system.dvc import LOCK
from tests.helpers.commands import assert_error, assert_help, assert_usage_error, run_command
from tests.helpers.locks import UNREADABLE, WHOLE

OLDER = WHOLE.replace("c" * 32, "d" * 32)  # what an earlier commit has


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def commit(folder: Path, text: str) -> None:
    (folder / LOCK).write_text(text)
    git(folder, "add", str(LOCK))
    git(folder, "commit", "--message", "test")


@pytest.fixture
def git_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty git repository, which is the working directory."""
    git(tmp_path, "init", "--quiet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["repair"])
    return tmp_path


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Run the command; return what it prints."""

    def run() -> str:
        repair.main()
        return capsys.readouterr().out

    return run


def test_whole_lock_is_left_alone(git_repository: Path, printed: Callable[[], str]) -> None:
    commit(git_repository, OLDER)
    (git_repository / LOCK).write_text(WHOLE)
    before = (git_repository / LOCK).stat()
    assert printed() == ""
    after = (git_repository / LOCK).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_missing_lock_is_not_created(git_repository: Path, printed: Callable[[], str]) -> None:
    commit(git_repository, OLDER)
    (git_repository / LOCK).unlink()
    assert printed() == ""
    assert not (git_repository / LOCK).exists()


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_damaged_lock_is_restored_from_git(
    git_repository: Path, printed: Callable[[], str], text: str
) -> None:
    commit(git_repository, OLDER)
    (git_repository / LOCK).write_text(text)
    assert printed() == "dvc.lock was unreadable: restored from git\n"
    assert (git_repository / LOCK).read_text() == OLDER
    assert printed() == ""


@pytest.mark.parametrize("committed", [None, "", "stages: ["], ids=["nothing", "empty", "damaged"])
def test_damaged_lock_is_removed_when_head_has_no_readable_one(
    git_repository: Path, printed: Callable[[], str], committed: str | None
) -> None:
    if committed is not None:
        commit(git_repository, committed)
    (git_repository / LOCK).write_text("stages: [")
    line = printed()
    assert line.startswith("dvc.lock was unreadable: removed")
    assert line.count("\n") == 1
    assert not (git_repository / LOCK).exists()


def test_damaged_lock_is_removed_outside_a_repository(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_bytes(b"\xff\xfe\0")
    result = run_command("repair", tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("dvc.lock was unreadable: removed")
    assert list(tmp_path.iterdir()) == []


def test_empty_folder_is_replaced(git_repository: Path, printed: Callable[[], str]) -> None:
    commit(git_repository, OLDER)
    (git_repository / LOCK).unlink()
    (git_repository / LOCK).mkdir()
    assert printed() == "dvc.lock was unreadable: restored from git\n"
    assert (git_repository / LOCK).read_text() == OLDER


def test_folder_with_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / LOCK).mkdir()
    (tmp_path / LOCK / "mine").touch()
    message = "dvc.lock cannot be read: Is a directory; remove this folder, then run `git restore"
    assert_error("repair", tmp_path, message=message)
    assert (tmp_path / LOCK / "mine").exists()


def test_damaged_configuration_of_dvc_is_one_line(tmp_path: Path) -> None:
    """DVC would print a traceback."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("stages: [")
    assert_error("repair", tmp_path, message=".dvc/config cannot be read: Invalid line (")


@pytest.mark.slow
def test_archive_without_git_is_one_line(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    analytics = false\n")
    assert_error("repair", tmp_path, message="DVC needs a git repository: run `git init && ")
    (tmp_path / ".dvc/config.local").write_text("[core]\n    no_scm = true\n")
    assert run_command("repair", tmp_path).returncode == 0
    (tmp_path / ".dvc/config.local").unlink()
    git(tmp_path, "init", "--quiet")
    assert run_command("repair", tmp_path).returncode == 0


def test_lock_of_a_subfolder_is_restored(
    git_repository: Path, printed: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (git_repository / "sub").mkdir()
    commit(git_repository, WHOLE)
    commit(git_repository / "sub", OLDER)
    monkeypatch.chdir(git_repository / "sub")
    (git_repository / "sub" / LOCK).write_text("")
    assert "restored from git" in printed()
    assert (git_repository / "sub" / LOCK).read_text() == OLDER


def test_help_says_what_is_repaired(tmp_path: Path) -> None:
    assert_help("repair", tmp_path, "dvc.lock")


def test_unknown_argument_is_a_usage_error(tmp_path: Path) -> None:
    assert_usage_error("repair", tmp_path, "now", message="unrecognized arguments: now")
