"""How much memory a process has taken; for code that tests run in a process of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.helpers.project import REPOSITORY


def peak() -> int:
    """Megabytes that this process has held at most.

    Not getrusage's: Linux hands a parent's peak on to the programs that it starts.
    """
    status = Path("/proc/self/status").read_text()
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert match is not None
    return int(match[1]) // 1024


def run(code: str, *arguments: str, folder: Path) -> list[str]:
    """Run Python code in a folder; return the lines that it printed."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'tests'}"},
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    ).stdout.splitlines()
