import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.config.paths import REPOSITORY
from pipeline.sweeps.locks import FileTrialLock, JournalLock, engine

HOLD_TRIAL_LOCK = """
import sys
from pathlib import Path
from pipeline.sweeps.locks import FileTrialLock
lock = FileTrialLock(Path(sys.argv[1]))
print(lock.try_acquire(), flush=True)
input()
"""
HOLD_JOURNAL_LOCK = """
import sys
from pathlib import Path
from pipeline.sweeps.locks import JournalLock
lock = JournalLock(Path(sys.argv[1]))
print(lock.acquire(), flush=True)
input()
"""


@contextmanager
def holder(code: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, which holds a lock until it is killed or the block ends."""
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        yield process
        process.kill()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "locks" / "0.lock"


@pytest.mark.slow
def test_second_process_is_refused_until_the_holder_is_killed(path: Path) -> None:
    lock = FileTrialLock(path)
    with holder(HOLD_TRIAL_LOCK, path) as process:
        assert not lock.try_acquire()
        process.kill()  # SIGKILL
        process.wait()
        assert lock.try_acquire()


def test_second_lock_of_the_same_process_is_refused_until_the_first_is_released(path: Path) -> None:
    first, second = FileTrialLock(path), FileTrialLock(path)
    assert first.try_acquire()
    assert not second.try_acquire()
    first.release()
    assert second.try_acquire()


def test_refused_lock_can_be_released_without_freeing_it(path: Path) -> None:
    first, second, third = (FileTrialLock(path) for _ in range(3))
    assert first.try_acquire()
    assert not second.try_acquire()
    second.release()
    assert not third.try_acquire()


def test_trials_have_separate_locks(path: Path) -> None:
    locks = [FileTrialLock(path.with_name(f"{number}.lock")) for number in range(3)]
    assert [lock.try_acquire() for lock in locks] == [True] * 3


@pytest.mark.slow
def test_journal_lock_is_freed_when_its_holder_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "journal.lock"
    with holder(HOLD_JOURNAL_LOCK, path) as process:
        assert not FileTrialLock(path).try_acquire()
        process.kill()
        process.wait()
        lock = JournalLock(path)
        assert lock.acquire()
        assert not FileTrialLock(path).try_acquire()
        lock.release()
        assert FileTrialLock(path).try_acquire()


def test_each_database_has_one_engine_in_a_process() -> None:
    pytest.importorskip("psycopg")
    assert engine("postgresql://a/o") is engine("postgresql://a/o")
    assert engine("postgresql://a/o") is not engine("postgresql://b/o")
