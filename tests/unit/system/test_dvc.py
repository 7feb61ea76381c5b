import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.system.dvc import failure, is_complete, read_config, read_lock, run_dvc
from pipeline.system.errors import UserError
from tests.helpers.locks import UNREADABLE, WHOLE

pytestmark = pytest.mark.slow


def test_whole_lock_is_complete() -> None:
    assert is_complete(WHOLE)
    assert is_complete("schema: '2.0'\nstages: {}\n")


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_damaged_lock_is_not_complete(text: str) -> None:
    assert not is_complete(text)


def test_lock_truncated_anywhere_is_judged_without_an_error() -> None:
    complete = [is_complete(WHOLE[:length]) for length in range(len(WHOLE))]
    assert not any(complete[: WHOLE.index("cmd:")])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of DVC without git, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    subprocess.run(["dvc", "init", "--quiet", "--no-scm"], check=True)
    return tmp_path


def test_texts_are_those_of_both_configurations(folder: Path) -> None:
    (folder / ".dvc/config.local").write_text("[cache]\n    dir = /elsewhere\n")
    assert "no_scm" in read_config()
    assert "/elsewhere" in read_config()
    (folder / ".dvc/config").unlink()
    assert "no_scm" not in read_config()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "Is a directory; remove this folder, then run `git restore": Path.mkdir,
    "it is not text; `git restore": lambda path: path.write_bytes(b"\xff\xfe\0"),
    r"Invalid line .*; `git restore": lambda path: path.write_text("stages: ["),
}


@pytest.mark.parametrize(("message", "damage"), DAMAGES.items(), ids=["folder", "binary", "YAML"])
def test_configuration_that_dvc_cannot_read_is_one_line(
    folder: Path, message: str, damage: Callable[[Path], object]
) -> None:
    (folder / ".dvc/config").unlink()
    damage(folder / ".dvc/config")
    with pytest.raises(UserError, match=rf"^\.dvc/config cannot be read: {message}[^\n]+$"):
        read_config()


def test_own_configuration_is_not_in_git(folder: Path) -> None:
    (folder / ".dvc/config.local").write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"^\.dvc/config\.local .*; mend or remove it$"):
        read_config()


@pytest.mark.usefixtures("folder")
def test_lock_is_read_whatever_it_holds() -> None:
    assert read_lock() is None
    Path("dvc.lock").write_bytes(b"\xff\xfe\0")
    assert not is_complete(read_lock() or "")
    Path("dvc.lock").unlink()
    Path("dvc.lock").mkdir()
    with pytest.raises(UserError, match=r"^dvc\.lock cannot be read: Is a directory; remove this"):
        read_lock()


def test_failure_is_the_last_line_of_a_traceback(folder: Path) -> None:
    assert failure(run_dvc("nosuch")).count("\n") == 0
    (folder / ".dvc/config").write_text("stages: [")
    assert "Invalid line" in failure(run_dvc("status"))
    (folder / ".dvc/config").write_text("[core]\n    no_scm = perhaps\n")
    assert failure(run_dvc("status")).startswith("configuration error - ")
