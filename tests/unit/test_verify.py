"""What the command does is tested in tests/system; here is what it refuses and compares."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.stages import stage_names
from pipeline.verify import differing
from tests.helpers.commands import assert_error, assert_help, assert_usage_error


@pytest.mark.slow
def test_help_says_what_is_compared(tmp_path: Path) -> None:
    assert_help("verify", tmp_path, "dvc.lock")


@pytest.mark.slow
def test_unknown_argument_is_a_usage_error(tmp_path: Path) -> None:
    assert_usage_error("verify", tmp_path, "now", message="unrecognized arguments: now")


@pytest.mark.slow
def test_missing_lock_is_one_line(tmp_path: Path) -> None:
    assert_error("verify", tmp_path, message="there is no dvc.lock")


DAMAGED = {
    "binary": b"\xff\xfe\0",
    "not YAML": b"stages: [",
    "a list": b"[]",
    "no outputs": b"schema: '2.0'\nstages: {}\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_lock_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "dvc.lock").write_bytes(content)
    assert_error("verify", tmp_path, message="dvc.lock ")


@pytest.mark.slow
def test_lock_that_is_a_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").mkdir()
    assert_error("verify", tmp_path, message="dvc.lock cannot be read: Is a directory; remove")


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


FILES = {"a": b"first", "sub/b": b"second"}
LISTED = [{"md5": md5(content), "relpath": name} for name, content in FILES.items()]
FOLDER = md5(json.dumps(LISTED, sort_keys=True).encode()) + ".dir"  # as DVC digests a folder


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder in which the stages have made a file and a folder."""
    for name, content in {"model": b"weights", **{f"raw/{k}": v for k, v in FILES.items()}}.items():
        (tmp_path / "made" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "made" / name).write_bytes(content)
    return tmp_path / "made"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """DVC's cache, which has the list of the folder's files."""
    path = tmp_path / "cache" / FOLDER[:2] / FOLDER[2:]
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(LISTED))
    return tmp_path / "cache"


@pytest.fixture
def lock() -> dict[str, Any]:
    """The content of a dvc.lock that describes these files."""
    stages: dict[str, Any] = {name: {"outs": []} for name in stage_names()}
    stages["fetch"]["outs"] = [{"path": "raw", "md5": FOLDER}]
    stages["train"]["outs"] = [{"path": "model", "md5": md5(b"weights")}]
    return {"stages": stages}


def test_equal_files_are_the_same(lock: dict[str, Any], made: Path, cache: Path) -> None:
    assert differing(lock, made, cache) == (["raw/a", "raw/sub/b", "model"], [])


def test_folder_without_a_list_counts_as_one_file(
    lock: dict[str, Any], made: Path, tmp_path: Path
) -> None:
    assert differing(lock, made, tmp_path / "no cache") == (["raw", "model"], [])
    (made / "raw/a").write_bytes(b"changed")
    assert differing(lock, made, tmp_path / "no cache") == (["model"], ["raw"])


@pytest.mark.parametrize("change", ["changed", "missing", "new"])
def test_file_that_differs_is_named(
    lock: dict[str, Any], made: Path, cache: Path, change: str
) -> None:
    name = {"changed": "raw/a", "missing": "raw/sub/b", "new": "raw/c"}[change]
    if change == "missing":
        (made / name).unlink()
    else:
        (made / name).write_bytes(b"other")
    same, other = differing(lock, made, cache)
    assert other == [name]
    assert name not in same


def test_missing_output_is_named(lock: dict[str, Any], made: Path, cache: Path) -> None:
    (made / "model").unlink()
    assert differing(lock, made, cache)[1] == ["model"]
