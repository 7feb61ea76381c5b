"""Identify a process by host, process id and start time, since process ids are reused."""

import os
import platform

import psutil

HOST = platform.node()


def identity() -> dict[str, str]:
    """The identity of this process, as tags for an MLflow run."""
    return {
        "process.host": HOST,
        "process.id": str(os.getpid()),
        "process.started": _started(psutil.Process()),
    }


def is_alive(identity: dict[str, str]) -> bool:
    """Whether a process of this machine is still running."""
    try:
        process = psutil.Process(int(identity["process.id"]))
        dead = process.status() == psutil.STATUS_ZOMBIE
        return not dead and _started(process) == identity["process.started"]
    except psutil.NoSuchProcess:
        return False


def _started(process: psutil.Process) -> str:
    """The start time of a process, in seconds since boot, because wall clocks may be set back."""
    return f"{process.create_time() - psutil.boot_time():.2f}"
