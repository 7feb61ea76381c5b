import io
import os
import sys
from pathlib import Path

import pytest

from pipeline.pictures.names import picture_files


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "b.png",
        "a.JPG",
        "notes.txt",
        ".hidden.png",
        "deep/c.heic",
        ".git/d.png",
        "[1].png",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def named(*names: str) -> list[str]:
    return [str(path) for path in picture_files(names)]


def test_folder_stands_for_its_pictures(folder: Path) -> None:
    assert named(".") == ["[1].png", "a.JPG", "b.png", "deep/c.heic"]


def test_pattern_stands_for_what_it_matches(folder: Path) -> None:
    assert named("*.txt", "**/*.heic") == ["notes.txt", "deep/c.heic"]
    assert named(f"{folder}/d*") == [f"{folder}/deep/c.heic"], "a folder that matches"
    assert named("[1].png") == ["[1].png"], "a file of this name is not a pattern"


def test_other_names_are_files(folder: Path) -> None:
    assert named("b.png", "missing.png", "*.none") == ["b.png", "missing.png", "*.none"]


def test_names_are_read_from_stdin(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(b"b.png\r\ndeep\n\n\xff.png\nsp ace.png"))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert named("-") == ["b.png", "deep/c.heic", os.fsdecode(b"\xff.png"), "sp ace.png"]
