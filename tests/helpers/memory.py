"""The memory of a process, for code that tests run in another process."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.helpers.project import REPOSITORY


def peak() -> int:
    """The most megabytes that this process has held.

    getrusage would not do: on Linux a program inherits the peak of the process that started it.
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
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    ).stdout.splitlines()
