"""Replace an unreadable dvc.lock, which `dvc repro` leaves if it is killed while writing it."""

import os
import subprocess
from pathlib import Path

from pipeline.system import cli
from pipeline.system.dvc import LOCK, is_complete, read_config, read_lock
from pipeline.system.errors import UserError
from pipeline.system.files import write_text
from pipeline.system.git import text_at


def _check_git(config: str) -> None:
    """DVC needs a git repository, which an unpacked archive of the project is not.

    Args:
        config: the text of DVC's configuration files.

    Raises:
        UserError: when there is none, and DVC is not configured to run without git.
    """
    command, english = ["git", "rev-parse", "--git-dir"], {**os.environ, "LC_ALL": "C"}
    found = subprocess.run(command, env=english, capture_output=True, text=True, check=False)
    if config and "not a git repository" in found.stderr and "no_scm" not in config:
        raise UserError(
            "DVC needs a git repository: run `git init && git add --all && git commit -m Import`, "
            "or `dvc config --local core.no_scm true`"
        )


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not any(path.iterdir())


def main() -> None:
    """Restore an unreadable dvc.lock from git, else remove it. DVC then restores the outputs.

    DVC 3.67 writes the file in place. Remove this command when DVC writes the file atomically; a
    test then fails.
    """
    cli.no_arguments(__doc__)
    _check_git(read_config())
    if _is_empty_folder(LOCK):
        LOCK.rmdir()
    elif (text := read_lock()) is None or is_complete(text):
        return
    committed = text_at("HEAD", str(LOCK))
    if committed is not None and is_complete(committed):
        write_text(LOCK, committed)
        print(f"{LOCK} was unreadable: restored from git")
    else:
        LOCK.unlink(missing_ok=True)
        print(f"{LOCK} was unreadable: removed; DVC restores outputs from its run-cache")


if __name__ == "__main__":
    cli.run(main)
