"""Clean up what `dvc exp run` leaves when it is killed, without losing a user's edits.

To run an experiment, DVC 3.67 puts uncommitted edits into git's stash for a moment, and detaches
HEAD. A kill leaves this behind. Every function may be repeated after another kill.
"""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Collection
from itertools import pairwise
from pathlib import Path

from pipeline.system.errors import UserError
from pipeline.system.git import ask_git, file_content, file_names, git, reflog
from pipeline.system.process import modules_run_by, processes_in

# What DVC makes for an experiment, and removes when it ends.
_ARGUMENTS = ".dvc/tmp/repro.dat"
_EXPERIMENTS = Path(".dvc/tmp/exps")
_BASELINE = "refs/exps/exec/EXEC_BASELINE"
_EDITED = "refs/exps/exec/EXEC_MERGE"  # the workspace with the settings of the experiment
_REFS = (_BASELINE, _EDITED, "refs/exps/exec/EXEC_BRANCH", "refs/exps/stash")
# How git's reflog records that DVC detached HEAD from a branch.
_DETACHED = re.compile(r"checkout: moving from (\S+) to ([0-9a-f]{40,64})")


def check_processes(folder: Path, modules: Collection[str]) -> bool:
    """Whether DVC runs in a folder without changing the workspace, such as a worker of its queue.

    Args:
        folder: the folder of the workspace.
        modules: the names of the modules which change the workspace.

    Raises:
        UserError: when a process may be changing the workspace.
    """
    elsewhere = False
    for process, words, cwd in processes_in(folder):
        dvc = "dvc" in [Path(word).name for word in words[:3]]
        elsewhere |= dvc
        changes = dvc and not {"repro", "run", "checkout"}.isdisjoint(words)
        changes |= not modules_run_by(words, cwd).isdisjoint(modules)
        if cwd == folder and changes:
            name = " ".join([Path(words[0]).name, *words[1:]])
            raise UserError(
                f"still running: {name}; wait for it, or end it with `kill {process.pid}`"
            )
    return elsewhere


def remove_git_locks(folder: Path) -> None:
    """Remove the lock files of a killed git operation.

    Args:
        folder: the top folder of the git repository.

    Raises:
        UserError: when git is running there.
    """
    inside = Path(git("rev-parse", "--absolute-git-dir"))
    if not (locks := [*inside.glob("*.lock"), *inside.glob("refs/**/*.lock")]):
        return
    time.sleep(1)  # a running process holds a lock for a moment only
    for process, words, _ in processes_in(folder):
        if Path(words[0]).name == "git":
            name = " ".join(words)
            raise UserError(
                f"still running: {name}; wait for it, or end it with `kill {process.pid}`"
            )
    for lock in locks:
        lock.unlink(missing_ok=True)


def return_edits(
    top: Path, restored: Collection[str] = ()
) -> tuple[list[str], dict[str, list[str]]]:
    """Bring back edits that a killed run had put away, to files which have no other edits.

    An entry of git's stash is dropped if each of its files is in the workspace, brought back or
    unchanged since. Otherwise the edits are only in the stash, and the entry stays.

    Args:
        top: the top folder of the git repository.
        restored: files and folders, below `top`, which need not be in the workspace because the
            caller restores the last commit's.

    Returns:
        The names of the files that changed; and for each entry that stays, such as `stash@{0}`, the
        names of its files that are not in the workspace.
    """
    entries = {f"stash@{{{number}}}": number for number in _stash_of_killed_run()}
    edited = [_EDITED] if ask_git("rev-parse", "--verify", "--quiet", _EDITED) else []
    changed: list[str] = []
    missing: dict[int, list[str]] = {}
    for source in [*entries, *edited]:
        names = file_names("-C", str(top), "diff", "--name-only", "-z", f"{source}^1", source)
        if lost := [name for name in names if _is_lost(top, source, name)]:
            git("-C", str(top), "restore", f"--source={source}", "--worktree", "--", *lost)
            changed += lost
        if source in entries:
            others = [name for name in names if name not in lost and not _is_in(restored, name)]
            differ = [name for name in others if _content(top / name) != file_content(source, name)]
            missing[entries[source]] = differ + _untracked(source)
    dropped = sorted(number for number, names in missing.items() if not names)
    for number in reversed(dropped):
        git("stash", "drop", "--quiet", f"stash@{{{number}}}")
    kept = {
        f"stash@{{{number - sum(other < number for other in dropped)}}}": names
        for number, names in missing.items()
        if names
    }
    return changed, kept


def reattach_head() -> str:
    """Put HEAD back on the branch from which a killed run detached it; keep all files.

    Returns:
        The name of the branch, or "" if no killed run has detached HEAD.

    Raises:
        UserError: when new commits are on no branch.
    """
    branch, commit = _branch_before_run()
    if not branch:
        return ""
    head = git("rev-parse", "HEAD")
    if head != commit and not _is_experiment(head):
        raise UserError(
            f"HEAD is not on {branch} and has new commits: `git switch -C {branch}` moves {branch} "
            "to them"
        )
    git("reset", "--quiet", commit)
    git("symbolic-ref", "-m", f"reset: moving to {branch}", "HEAD", f"refs/heads/{branch}")
    return branch


def remove_traces(elsewhere: bool) -> None:
    """Remove DVC's temporary files and references of a killed run, but no experiment.

    Args:
        elsewhere: whether DVC is running outside the workspace and needs its own files.
    """
    for ref in _REFS:
        git("update-ref", "--no-deref", "-d", ref)
    git("rm", "--cached", "--quiet", "--ignore-unmatch", "--", _ARGUMENTS)
    Path(_ARGUMENTS).unlink(missing_ok=True)
    if elsewhere:
        return
    for lock in (_EXPERIMENTS.with_name("rwlock"), _EXPERIMENTS / "rwlock"):
        lock.unlink(missing_ok=True)
    for copy in (*_EXPERIMENTS.glob("tmp*"), *_EXPERIMENTS.glob("standalone/tmp*")):
        shutil.rmtree(copy)


def end_lost_experiments() -> list[str]:
    """Mark queued experiments whose worker was killed as failed. DVC would wait for them forever.

    Call it only when no worker is running.

    Returns:
        The experiments, as DVC's queue names them.
    """
    if not (_EXPERIMENTS / "celery").is_dir():
        return []
    queue = [sys.executable, "-m", "dvc", "queue"]
    status = subprocess.run([*queue, "status"], capture_output=True, text=True, check=False).stdout
    if lost := re.findall(r"^([0-9a-f]{7}) .*\bRunning *$", status, flags=re.M):
        subprocess.run([*queue, "kill", *lost], capture_output=True, check=False)
    return lost


def _locked_since() -> int:
    """When a run that was killed began to put edits away, in seconds since 1970, or 0."""
    lock = _EXPERIMENTS / "rwlock"
    try:
        return (
            int(lock.stat().st_mtime) if "workspace" in json.loads(lock.read_text())["write"] else 0
        )
    except (OSError, ValueError, LookupError, TypeError):
        return 0


def _stash_of_killed_run() -> list[int]:
    """The numbers of the entries in git's stash that a killed run has left: edits first."""
    entries = list(enumerate(reflog("refs/stash")))
    left = [number for number, entry in entries if "dvc-exp:" in entry.message]
    if since := _locked_since():
        later = [number for number, entry in entries if entry.time >= since and number not in left]
        left = later[-1:] + left  # the oldest: the user may have stashed something since
    return left


def _is_lost(top: Path, source: str, name: str) -> bool:
    """Whether a file has nothing but what the last commit has, or what a kill left half-written."""
    if name == _ARGUMENTS:
        return False
    saved, base = (file_content(commit, name) for commit in (source, f"{source}^1"))
    now = _content(top / name)
    return now != saved and (saved.startswith(now) or base.startswith(now))


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _is_in(places: Collection[str], name: str) -> bool:
    """Whether a file is one of some files or in one of some folders, or is DVC's own."""
    return name == _ARGUMENTS or any(Path(name).is_relative_to(place) for place in places)


def _untracked(source: str) -> list[str]:
    """The untracked files of a stash entry. DVC puts none away, so the entry is the user's."""
    commit = ask_git("rev-parse", "--verify", "--quiet", f"{source}^3")
    return file_names("ls-tree", "-r", "--full-tree", "--name-only", "-z", commit) if commit else []


def _branch_before_run() -> tuple[str, str]:
    """The branch from which a killed run detached HEAD, and its commit; ("", "") if none did.

    A user who detaches HEAD leaves other traces.
    """
    if ask_git("symbolic-ref", "--quiet", "HEAD"):
        return "", ""
    for entry, older in pairwise(reflog("HEAD")):
        if not entry.message.startswith("checkout: "):
            continue
        if not (match := _DETACHED.fullmatch(entry.message)):
            break
        branch, commit = match.groups()
        tip = ask_git("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}")
        prepared = older.message == f"dvc: Restore HEAD to '{branch}'"
        by_dvc = (
            ask_git("rev-parse", "--verify", "--quiet", _BASELINE)
            or _locked_since()
            or (prepared and entry.time - older.time < 3)
        )
        if by_dvc and tip == commit == entry.commit == older.commit:
            return branch, commit
        break
    return "", ""


def _is_experiment(commit: str) -> bool:
    """Whether DVC made the commit, so that it holds no work of the user's own."""
    message = git("log", "-1", "--format=%s", commit)
    points = git("for-each-ref", "--points-at", commit, "refs/exps")
    return bool(points) or message.startswith("dvc: commit experiment")
