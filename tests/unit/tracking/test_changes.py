"""In a repository with the dvc.yaml of this project, which names what stages read and write."""

import os
import subprocess
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline.tracking.changes import LEFT_OUT, PATCH, log_changes, uncommitted, uncommitted_patch

FILES = {"params.yaml": "a: 1\n", "pipeline/code.py": "x = 1\n", "README.md": "text\n"}


def git(*arguments: str, folder: Path | None = None, content: bytes = b"") -> str:
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    command = ["git", *who, *arguments]
    return subprocess.run(
        command, cwd=folder, input=content, check=True, capture_output=True
    ).stdout.decode()


@pytest.fixture(params=["top", "inner"])
def project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Path:
    """A project at the top of a git repository, or in a folder of one."""
    folder = tmp_path / "repository" / ("" if request.param == "top" else "a folder")
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    git("init", "--quiet", str(tmp_path / "repository"))
    for name, text in {**FILES, ".gitignore": "ignored\n", "models/history.csv": ""}.items():
        write(name, text.encode())
    git("add", "--all")
    git("commit", "--quiet", "--message", "test")
    return folder


def write(name: str, content: bytes) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(content)


def test_clean_repository_has_no_patch(project: Path) -> None:
    write("models/history.csv", b"a result")
    write("dvc.lock", b"a result")
    write("ignored", b"")
    assert uncommitted() == []
    assert uncommitted_patch() == (b"", [])


def test_change_in_the_moment_of_the_commit_is_seen(project: Path) -> None:
    """A file of the same size and time as in git's index, as where a clock is coarse."""
    git("config", "core.trustctime", "false")
    git("config", "core.checkStat", "minimal")
    index = Path(git("rev-parse", "--absolute-git-dir").strip()) / "index"
    moment = (1_700_000_000, 1_700_000_000)
    os.utime("params.yaml", moment)
    git("update-index", "--refresh")
    os.utime(index, moment)
    write("params.yaml", b"a: 2\n")
    os.utime("params.yaml", moment)
    patch, _ = uncommitted_patch()
    assert b"+a: 2\n" in patch


def test_patch_brings_all_changes_to_the_commit(project: Path, tmp_path: Path) -> None:
    changes = {
        "params.yaml": b"a: 2\n",
        "pipeline/new.py": b"y = 2\n",
        "conf/image.bin": bytes(range(256)),
        'pipeline/\xe4 "b".py': b"",
        "README.md": b"no line end",
    }
    for name, content in changes.items():
        write(name, content)
    Path("pipeline/code.py").unlink()
    staged = git("diff", "--cached")
    patch, left_out = uncommitted_patch()
    assert left_out == []
    assert git("diff", "--cached") == staged, "the user's index stays as it is"
    clean = tmp_path / "clean"
    for name, text in FILES.items():
        (clean / name).parent.mkdir(parents=True, exist_ok=True)
        (clean / name).write_text(text)
    git("apply", "--whitespace=nowarn", "-", folder=clean, content=patch)
    found = {
        path.relative_to(clean).as_posix(): path.read_bytes()
        for path in clean.rglob("*")
        if path.is_file()
    }
    assert found == changes


def test_new_files_that_no_stage_reads_are_named_only(project: Path) -> None:
    write(".env", b"PASSWORD=planted")
    write("conf/large.bin", b"planted" * 200_000)
    write("pipeline/new.py", b"y = 2\n")
    Path("pipeline/.#new.py").symlink_to("an-editor's-lock")
    patch, left_out = uncommitted_patch()
    assert left_out == [".env", "conf/large.bin"]
    assert b"planted" not in patch
    assert b"y = 2" in patch
    assert uncommitted() == [".env", "conf/large.bin", "pipeline/.#new.py", "pipeline/new.py"]


def test_staged_changes_are_kept(project: Path) -> None:
    write("pipeline/new.py", b"y = 2\n")
    git("add", "--all")
    assert b"y = 2" in uncommitted_patch()[0]


def test_run_keeps_the_patch(project: Path, tracked: Path) -> None:
    write("params.yaml", b"a: 2\n")
    write(".env", b"")
    run_id = MlflowClient().create_run("1").info.run_id
    log_changes(run_id)
    [artifact] = MlflowClient().list_artifacts(run_id)
    assert artifact.path == PATCH
    assert MlflowClient().get_run(run_id).data.tags[LEFT_OUT] == ".env"


def test_later_changes_replace_the_patch(project: Path, tracked: Path, tmp_path: Path) -> None:
    run_id = MlflowClient().create_run("1").info.run_id
    write("params.yaml", b"a: 2\n")
    log_changes(run_id)
    git("checkout", "--quiet", "params.yaml")
    log_changes(run_id)
    assert Path(MlflowClient().download_artifacts(run_id, PATCH, str(tmp_path))).read_bytes() == b""


@pytest.mark.parametrize("commits", [True, False])
def test_folder_without_a_commit_has_no_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commits: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    if commits:
        git("init", "--quiet")
    write("params.yaml", b"")
    assert uncommitted_patch() == (b"", [])
