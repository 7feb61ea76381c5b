"""The states are made by hand; tests/system/pipeline/test_reset.py has kills of the real DVC."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.system.errors import UserError
from pipeline.system.killed_run import (
    check_processes,
    end_lost_experiments,
    reattach_head,
    remove_git_locks,
    remove_traces,
    return_edits,
)
from tests.helpers.git import Repository

BASELINE = "refs/exps/exec/EXEC_BASELINE"
EDITED = "refs/exps/exec/EXEC_MERGE"
EDIT = "edited.txt as committed\nand edited\n"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.chdir(tmp_path)
    return Repository(tmp_path)


@pytest.fixture
def put_away(repository: Repository) -> Repository:
    """A repository in which DVC was killed after it had put edits into git's stash."""
    repository.write(".git/info/exclude", ".dvc/\n")
    # Seconds may pass before the stash, so the lock is as old as the commit.
    repository.write(".dvc/tmp/exps/rwlock", json.dumps({"write": {"workspace": {"pid": 1}}}))
    repository.write("edited.txt", EDIT)
    repository.write("new.txt", "new\n")
    repository.git("add", "new.txt")
    repository.git("rm", "--quiet", "code.py")
    repository.git("stash", "push", "--quiet")
    return repository


@pytest.fixture
def detached(repository: Repository) -> Repository:
    """A repository whose HEAD DVC has detached to run an experiment."""
    commit = repository.git("rev-parse", "HEAD")
    repository.git("checkout", "--quiet", commit)
    repository.git("update-ref", BASELINE, commit)
    return repository


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process in the folder which looks like a stage."""
    (tmp_path / "sleep.py").write_text("import time\nprint(flush=True)\ntime.sleep(60)\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "sleep", "pipeline.train"], cwd=tmp_path, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()


def test_edits_that_were_put_away_come_back(put_away: Repository, tmp_path: Path) -> None:
    assert return_edits(tmp_path) == (["code.py", "edited.txt", "new.txt"], {})
    assert put_away.read("edited.txt") == EDIT
    assert put_away.read("new.txt") == "new\n"
    assert not (tmp_path / "code.py").exists()
    assert put_away.git("stash", "list") == ""
    assert return_edits(tmp_path) == ([], {})


@pytest.mark.parametrize("text", ["", "edited.txt as co", EDIT[:-3]], ids=["empty", "half", "most"])
def test_half_written_file_is_completed(put_away: Repository, tmp_path: Path, text: str) -> None:
    put_away.write("edited.txt", text)
    assert "edited.txt" in return_edits(tmp_path)[0]
    assert put_away.read("edited.txt") == EDIT


def test_edits_since_the_kill_are_not_overwritten(put_away: Repository, tmp_path: Path) -> None:
    put_away.write("edited.txt", "edited again\n")
    stays = (["code.py", "new.txt"], {"stash@{0}": ["edited.txt"]})
    assert return_edits(tmp_path) == stays
    assert put_away.read("edited.txt") == "edited again\n"
    assert "and edited" in put_away.git("stash", "show", "-p", "stash@{0}")
    assert return_edits(tmp_path) == ([], stays[1]), "another reset keeps them, too"


def test_entry_that_stays_is_named_as_git_names_it_afterwards(
    put_away: Repository, tmp_path: Path
) -> None:
    put_away.git("reset", "--quiet", "--hard")
    put_away.write("code.py", "of the experiment\n")
    put_away.git("stash", "push", "--quiet", "--message", "dvc-exp:1:2:name")
    put_away.write("edited.txt", "edited again\n")
    assert return_edits(tmp_path)[1] == {"stash@{0}": ["edited.txt"]}
    [line] = put_away.git("stash", "list").splitlines()
    assert "dvc-exp" not in line


def test_files_that_are_restored_anyway_need_no_stash(put_away: Repository, tmp_path: Path) -> None:
    put_away.write("edited.txt", "edited again\n")
    assert return_edits(tmp_path, ["edited.txt"])[1] == {}
    assert put_away.git("stash", "list") == ""


def test_untracked_files_in_the_stash_stay(repository: Repository, tmp_path: Path) -> None:
    repository.write(".git/info/exclude", ".dvc/\n")
    repository.write(".dvc/tmp/exps/rwlock", json.dumps({"write": {"workspace": {"pid": 1}}}))
    repository.write("untracked.txt", "mine\n")
    repository.git("stash", "push", "--quiet", "--include-untracked")
    assert return_edits(tmp_path) == ([], {"stash@{0}": ["untracked.txt"]})
    assert repository.git("stash", "list")


def test_stash_of_the_user_stays(put_away: Repository, tmp_path: Path) -> None:
    put_away.write("params.yaml", "stashed after the kill\n")
    put_away.git("stash", "push", "--quiet")
    return_edits(tmp_path)
    [line] = put_away.git("stash", "list").splitlines()
    assert put_away.git("stash", "show", "--name-only") == "params.yaml"
    (tmp_path / ".dvc/tmp/exps/rwlock").unlink()
    assert return_edits(tmp_path) == ([], {})
    assert put_away.git("stash", "list") == line


def test_edits_in_an_unfinished_experiment_come_back(
    repository: Repository, tmp_path: Path
) -> None:
    repository.write("edited.txt", EDIT)
    repository.git("update-ref", EDITED, repository.git("stash", "create"))
    repository.git("checkout", "--quiet", "edited.txt")
    assert return_edits(tmp_path) == (["edited.txt"], {})
    assert repository.read("edited.txt") == EDIT


def test_head_returns_to_its_branch_with_all_edits(detached: Repository) -> None:
    detached.write("edited.txt", EDIT)
    detached.git("add", "edited.txt")
    assert reattach_head() == "main"
    assert detached.branch() == "main"
    assert detached.git("status", "--short") == " M edited.txt"
    assert reattach_head() == ""


def test_commit_of_an_experiment_is_left(detached: Repository) -> None:
    detached.write("edited.txt", EDIT)
    detached.git("commit", "--quiet", "--all", "--message", "dvc: commit experiment 12ab")
    assert reattach_head() == "main"
    assert detached.git("status", "--short") == " M edited.txt"


def test_commits_of_the_user_are_not_left(detached: Repository) -> None:
    detached.write("edited.txt", EDIT)
    commit = detached.commit()
    with pytest.raises(UserError, match="`git switch -C main` moves main to them"):
        reattach_head()
    assert detached.git("rev-parse", "HEAD") == commit
    detached.git("switch", "--quiet", "-C", "main")
    assert reattach_head() == ""
    assert detached.git("rev-parse", "main") == commit


@pytest.mark.parametrize("command", [["checkout", "--detach"], ["switch", "--detach"]])
def test_head_that_the_user_detached_stays(repository: Repository, command: list[str]) -> None:
    repository.git(*command, "--quiet")
    assert reattach_head() == ""
    assert repository.branch() == ""


def test_branch_that_has_moved_is_not_taken(detached: Repository) -> None:
    detached.git("branch", "--force", "main", detached.git("commit-tree", "HEAD^{tree}", "-m", "x"))
    assert reattach_head() == ""


def test_traces_go_and_experiments_stay(repository: Repository, tmp_path: Path) -> None:
    commit = repository.git("rev-parse", "HEAD")
    for ref in (BASELINE, EDITED, "refs/exps/stash", "refs/exps/ab/cdef/kept"):
        repository.git("update-ref", ref, commit)
    repository.git("symbolic-ref", "refs/exps/exec/EXEC_BRANCH", "refs/exps/ab/cdef/kept")
    for name in ("repro.dat", "exps/rwlock", "exps/standalone/tmp1/code.py", "exps/run/kept"):
        repository.write(f".dvc/tmp/{name}", "")
    repository.git("add", "--force", ".dvc/tmp/repro.dat")
    remove_traces(elsewhere=True)
    assert repository.git("for-each-ref", "--format=%(refname)", "refs/exps") == (
        "refs/exps/ab/cdef/kept"
    )
    assert repository.git("diff", "--cached", "--name-only") == ""
    assert (tmp_path / ".dvc/tmp/exps/standalone/tmp1/code.py").exists()
    remove_traces(elsewhere=False)
    left = [path for path in (tmp_path / ".dvc").rglob("*") if path.is_file()]
    assert left == [tmp_path / ".dvc/tmp/exps/run/kept"]


def test_running_stage_is_named(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=rf"still running: .*pipeline.train; .*`kill {sleeper.pid}`"
    ):
        check_processes(tmp_path, {"pipeline.train"})
    assert not check_processes(tmp_path, {"pipeline.fetch"})
    assert not check_processes(tmp_path / "sub", {"pipeline.train"})


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A shell in the folder which is about to start a stage. DVC starts stages so."""
    command = ["/bin/sh", "-c", "read wait; python -m pipeline.train"]
    with subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_stage_that_is_starting_is_named(shell: subprocess.Popen[bytes], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"`kill {shell.pid}`"):
        check_processes(tmp_path, {"pipeline.train"})


@pytest.mark.slow
def test_lock_of_a_killed_git_is_removed(repository: Repository, tmp_path: Path) -> None:
    locks = [tmp_path / ".git/index.lock", tmp_path / ".git/refs/heads/main.lock"]
    for lock in locks:
        lock.touch()
    remove_git_locks(tmp_path)
    assert not any(lock.exists() for lock in locks)
    repository.write("code.py", "")
    repository.commit()


@pytest.mark.slow
def test_lock_of_a_running_git_stays(repository: Repository, tmp_path: Path) -> None:
    process = subprocess.Popen(["git", "cat-file", "--batch"], stdin=subprocess.PIPE)
    (tmp_path / ".git/index.lock").touch()
    with pytest.raises(UserError, match=f"still running: git cat-file --batch; .*{process.pid}"):
        remove_git_locks(tmp_path)
    process.communicate()
    assert (tmp_path / ".git/index.lock").exists()


def test_without_a_queue_no_experiment_is_lost(repository: Repository) -> None:
    assert end_lost_experiments() == []
