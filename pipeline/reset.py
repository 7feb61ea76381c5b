"""Bring the workspace back to the last commit, also after `dvc exp run` was killed.

It restores params.yaml, dvc.lock and the outputs, and says what that undoes. Commits, experiments,
runs and edits to other files stay.

Examples:
    python -m pipeline.reset
    python -m pipeline.reset HEAD~1
"""

import re
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

from pipeline.config.stages import output_paths, stage_names
from pipeline.system import cli
from pipeline.system.dvc import LOCK, failure, read_config, read_lock, run_dvc
from pipeline.system.errors import UserError
from pipeline.system.git import ask_git, file_names, git
from pipeline.system.killed_run import (
    check_processes,
    end_lost_experiments,
    reattach_head,
    remove_git_locks,
    remove_traces,
    return_edits,
)

PARAMS = "params.yaml"
_IN_PROGRESS = {
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
}


def check_repository(revision: str) -> None:
    """Check that the files of a commit can be restored here.

    Raises:
        UserError: when there is no such commit, or git is in the middle of a merge or the like.
    """
    if ask_git("rev-parse", "--is-inside-work-tree") != "true":
        raise UserError("this folder is not in a git repository: there is no commit to restore")
    if not ask_git("rev-parse", "--verify", "--quiet", "HEAD^{commit}"):
        raise UserError("the git repository has no commit yet: there is nothing to restore")
    for name, what in _IN_PROGRESS.items():
        if Path(git("rev-parse", "--git-path", name)).exists():
            raise UserError(f"a {what} is in progress: finish it, or `git {what} --abort`")
    if not ask_git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"):
        raise UserError(f"no commit {revision!r}: see `git log --oneline`")
    if not git("ls-tree", revision, "--", PARAMS):
        raise UserError(f"{revision} has no {PARAMS} in this folder: nothing was restored")


def restore(revision: str) -> None:
    """Restore params.yaml, dvc.lock and outputs in git from a commit; say what that undoes."""
    outputs = file_names("ls-files", "-z", "--", *output_paths())
    for name in (PARAMS, str(LOCK), *outputs):
        committed = bool(git("ls-tree", revision, "--", name))
        same = committed and not git("diff", "--name-only", revision, "--", name)
        if Path(name).is_file() and not same and name not in outputs:
            diff = git("diff", "--no-ext-diff", "--no-color", "--unified=0", revision, "--", name)
            undone = re.findall(r"^[-+](?!--|\+\+).*", diff, flags=re.M) if name == PARAMS else []
            print(f"{name}: undone", *undone, sep="\n    ")
            old = git("hash-object", "-w", "--", name)
            print(f"    to get it back: git cat-file blob {old[:12]} > {name}")
        if committed:
            # The index too, unless another commit is restored: then git shows what differs.
            index = ["--staged"] if revision == "HEAD" else []
            git("restore", f"--source={revision}", *index, "--worktree", "--", name)
        else:
            git("rm", "--cached", "--quiet", "--ignore-unmatch", "--", name)
            Path(name).unlink(missing_ok=True)


def check_out_outputs() -> None:
    """Restore the outputs that dvc.lock lists from DVC's cache; say which are missing there.

    Raises:
        UserError: when DVC fails.
    """
    if not LOCK.is_file():
        print(f"the commit has no {LOCK}: `make repro` makes the outputs")
        return
    result = run_dvc("checkout", "--force")
    if not result.returncode:
        print("outputs: restored from DVC's cache")
    elif match := re.search(r"following targets:\n(.*?)\nIs your cache", result.stderr, re.S):
        missing = ", ".join(sorted(match[1].split("\n")))
        print(f"not in DVC's cache: {missing}; `make repro` makes them")
    else:
        raise UserError(f"`dvc checkout` failed: {failure(result)}")


def main() -> None:
    """Restore the files of a commit, after cleaning up what a killed run has left."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument(
        "revision", nargs="?", default="HEAD", help="the commit to restore (default: the last one)"
    )
    revision = parser.parse_args().revision
    check_repository(revision)
    read_config()
    read_lock()
    top = Path(git("rev-parse", "--show-toplevel"))
    elsewhere = check_processes(Path.cwd(), {f"pipeline.{stage}" for stage in stage_names()})
    remove_git_locks(top)
    here = Path.cwd().resolve().relative_to(top.resolve())
    outputs = [str(here / name) for name in (PARAMS, str(LOCK), *output_paths())]
    returned, stashed = return_edits(top, outputs)
    if returned:
        print(f"brought back what a killed `dvc exp run` had put away: {', '.join(returned)}")
    for entry, names in stashed.items():
        print(
            f"the workspace has other edits to {', '.join(names)}; what was put away is still in "
            f"git's stash: git stash show -p {entry}"
        )
    if branch := reattach_head():
        print(f"back on branch {branch}, which a killed `dvc exp run` had left")
    if lost := [] if elsewhere else end_lost_experiments():
        print(f"the workers of {', '.join(lost)} were killed: `dvc queue status` now says Failed")
    remove_traces(elsewhere)
    restore(revision)
    check_out_outputs()
    edited = file_names("diff", "--name-only", "-z", "--relative", "HEAD")
    if kept := [name for name in edited if name not in (PARAMS, str(LOCK), *output_paths())]:
        print(f"not changed: your edits to {', '.join(kept)}")


if __name__ == "__main__":
    cli.run(main)
