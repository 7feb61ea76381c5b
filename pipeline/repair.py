"""Replace an unreadable dvc.lock, which `dvc repro` leaves when it is killed while it writes it."""

import subprocess
from pathlib import Path

import yaml

from pipeline.system import cli
from pipeline.system.files import write_text

LOCK = Path("dvc.lock")


def is_readable(text: str) -> bool:
    """Whether the text of a dvc.lock is whole: each stage has a command, each file a digest."""
    try:
        stages = yaml.safe_load(text)["stages"].values()
        files = [entry for stage in stages for entry in [*stage["deps"], *stage["outs"]]]
        return all("cmd" in stage for stage in stages) and all("md5" in entry for entry in files)
    except (yaml.YAMLError, TypeError, KeyError, AttributeError):
        return False


def main() -> None:
    """Restore an unreadable dvc.lock from git, else remove it. DVC then restores the outputs.

    DVC 3.67 writes the file in place. This command can go when DVC replaces it in one step; a test
    fails on that day.
    """
    cli.no_arguments(__doc__)
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
