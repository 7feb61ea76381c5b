"""Replace an unreadable dvc.lock, which `dvc repro` leaves if it is killed while writing it."""

import os
import subprocess
from pathlib import Path

import yaml

from pipeline.system import cli
from pipeline.system.errors import UserError
from pipeline.system.files import write_text

LOCK = Path("dvc.lock")


def is_readable(text: str) -> bool:
    """Whether the text of a dvc.lock is complete: each stage has a command, each file a digest."""
    try:
        for stage in yaml.safe_load(text)["stages"].values():
            files = [*stage.get("deps", []), *stage.get("outs", [])]
            if "cmd" not in stage or not all(file["path"] and file["md5"] for file in files):
                return False
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return False
    return True


def _check_git() -> None:
    """DVC needs a git repository, which an unpacked archive of the project is not.

    Raises:
        UserError: when there is none, and DVC is not configured to run without git.
    """
    command, english = ["git", "rev-parse", "--git-dir"], {**os.environ, "LC_ALL": "C"}
    found = subprocess.run(command, env=english, capture_output=True, text=True, check=False)
    configured = [path.read_text() for path in Path(".dvc").glob("config*")]
    if (
        configured
        and "not a git repository" in found.stderr
        and "no_scm" not in "".join(configured)
    ):
        raise UserError(
            "DVC needs a git repository: run `git init && git add --all && git commit -m Import`, "
            "or `dvc config --local core.no_scm true`"
        )


def main() -> None:
    """Restore an unreadable dvc.lock from git, else remove it. DVC then restores the outputs.

    DVC 3.67 writes the file in place. Remove this command when DVC writes the file atomically; a
    test then fails.
    """
    cli.no_arguments(__doc__)
    _check_git()
    if not LOCK.exists() or is_readable(LOCK.read_text("utf-8", errors="replace")):
        return
    command = ["git", "show", f"HEAD:./{LOCK}"]
    committed = subprocess.run(command, capture_output=True, text=True, check=False)
    if committed.returncode == 0 and is_readable(committed.stdout):
        write_text(LOCK, committed.stdout)
        print(f"{LOCK} was unreadable: restored from git")
    else:
        LOCK.unlink()
        print(f"{LOCK} was unreadable: removed; DVC restores outputs from its run-cache")


if __name__ == "__main__":
    cli.run(main)
