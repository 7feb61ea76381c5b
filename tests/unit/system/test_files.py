import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config.paths import REPOSITORY
from pipeline.system.files import (
    atomic_write,
    md5,
    remove_parts,
    sha256,
    write_csv,
    write_json,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file"
    with atomic_write(path) as file:
        file.write(b"half")
        file.flush()
        assert not path.exists()
        file.write(b" and half")
    assert path.read_bytes() == b"half and half"
    assert names(path.parent) == ["file"]


def test_failed_write_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def half_written() -> None:
        with atomic_write(path) as file:
            file.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half_written()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_killed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    code = (
        "import os, pathlib, sys; from pipeline.system import files\n"
        "with files.atomic_write(pathlib.Path(sys.argv[1])) as file:\n"
        "    file.write(b'new'); file.flush(); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(path)], cwd=REPOSITORY, check=False)
    assert killed.returncode == -9
    assert path.read_text() == "old"
    assert [name for name in names(tmp_path) if not name.startswith(".")] == ["file"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_file_has_the_permissions_of_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "file", "text")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_text_is_utf8_with_unix_line_ends(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "9 × 8\n")
    assert (tmp_path / "file").read_bytes() == b"9 \xc3\x97 8\n"


def test_json_has_sorted_keys(tmp_path: Path) -> None:
    write_json(tmp_path / "one", {"b": 1, "a": {"d": 0.1, "c": [2]}})
    write_json(tmp_path / "two", {"a": {"c": [2], "d": 0.1}, "b": 1})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert json.loads((tmp_path / "one").read_text()) == {"a": {"c": [2], "d": 0.1}, "b": 1}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_refuses_nan_and_infinity(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "file", {"loss": value})
    assert names(tmp_path) == []


def test_digest_is_of_the_whole_file(tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    (tmp_path / "file").write_bytes(content)
    assert sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()
    assert md5(tmp_path / "file") == hashlib.md5(content, usedforsecurity=False).hexdigest()


def test_csv_has_a_header_and_quotes_its_cells(tmp_path: Path) -> None:
    write_csv(tmp_path / "file", [{"a": 1, "b": 'x, "y"\n'}, {"a": None, "b": 0.1 + 0.2}])
    assert (tmp_path / "file").read_bytes() == b'a,b\n1,"x, ""y""\n"\n,0.30000000000000004\n'


def test_parts_that_killed_processes_left_are_removed(tmp_path: Path) -> None:
    left = [".file.abc.part", ".other.abc.part", ".hidden", "file.part", ".file.part.txt"]
    for name in left:
        (tmp_path / name).touch()
    remove_parts(tmp_path, "file")
    assert names(tmp_path) == sorted(left[1:])
    remove_parts(tmp_path)
    assert names(tmp_path) == sorted(left[2:])
    remove_parts(tmp_path / "missing")


def test_error_of_a_full_disk_names_the_file(tmp_path: Path) -> None:
    """/dev/full would do for a plain write; a limit on the size works for any file."""
    code = (
        "import pathlib, resource, signal, sys; from pipeline.system.files import write_text\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "try: write_text(pathlib.Path(sys.argv[1]), 'x' * 100)\n"
        "except OSError as error: print(error.filename)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "file")]
    result = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    assert result.stdout == f"{tmp_path / 'file'}\n"
    assert names(tmp_path) == []
