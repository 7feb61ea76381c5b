import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from pipeline.garbage.processes import working_processes
from pipeline.garbage.temporary import temporary_garbage

SLEEP = "import time; print(flush=True); time.sleep(60)"
# It starts a process as a sweep starts its workers, and a web server its own.
SPAWN = """
import multiprocessing, time
def wait():
    print(flush=True)
    time.sleep(60)
if __name__ == "__main__":
    multiprocessing.get_context("spawn").Process(target=wait).start()
    time.sleep(60)
"""


@contextmanager
def running(folder: Path, *command: str) -> Iterator[int]:
    """The number of a Python process that has printed a line in a folder."""
    process = subprocess.Popen([sys.executable, *command], cwd=folder, stdout=subprocess.PIPE)
    try:
        assert process.stdout
        process.stdout.readline()
        yield process.pid
    finally:
        for child in psutil.Process(process.pid).children():
            child.kill()
        process.kill()
        process.communicate()


@pytest.mark.parametrize("name", ["ui", "serve", "predict", "compare", "publish"])
def test_program_that_only_looks_does_not_work(tmp_path: Path, name: str) -> None:
    with running(tmp_path, "-c", SLEEP, "-m", f"pipeline.{name}"):
        assert working_processes(tmp_path) == []


@pytest.mark.parametrize("name", ["train", "sweep", "learn", "reproduce", "any_new_command"])
def test_every_other_command_works(tmp_path: Path, name: str) -> None:
    with running(tmp_path, "-c", SLEEP, "-m", f"pipeline.{name}") as number:
        [found] = working_processes(tmp_path)
    assert found.endswith(f"({number})")


def test_command_that_is_started_by_its_file_works(tmp_path: Path) -> None:
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline/train.py").write_text(SLEEP)
    (tmp_path / "pipeline/ui.py").write_text(SLEEP)
    with running(tmp_path, "pipeline/train.py"), running(tmp_path, "pipeline/ui.py"):
        [found] = working_processes(tmp_path)
    assert "pipeline/train.py" in found
    with running(tmp_path / "pipeline", "train.py"):
        assert len(working_processes(tmp_path)) == 1


@pytest.mark.parametrize(("parent", "works"), [("sweep.py", True), ("uvicorn", False)])
def test_spawned_process_works_unless_a_web_server_started_it(
    tmp_path: Path, parent: str, works: bool
) -> None:
    (tmp_path / "parent.py").write_text(SPAWN)
    with running(tmp_path, "parent.py", parent):
        found = working_processes(tmp_path)
    assert len(found) == works


def test_temporary_folder_of_a_long_run_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = tmp_path / "mnist-pipeline-ab"
    folder.mkdir()
    os.utime(folder, (time.time() - 2 * 24 * 3600,) * 2)
    with running(folder, "-c", SLEEP):
        assert list(temporary_garbage(tmp_path / "project")) == []
    assert len(list(temporary_garbage(tmp_path / "project"))) == 1
