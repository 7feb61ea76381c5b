"""Identify a process, so that others can tell whether it is still running; find those of a folder.

Process ids are reused, and each container may have its own. So an identity also has the host, the
boot of the machine, the namespace of process ids, and the time when the process started.
"""

import os
import platform
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path

import psutil

HOST = platform.node()
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/pid")


class State(Enum):
    """Whether a process is running, as far as it can be seen from here."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"  # on another machine, in another container, or before a reboot


def identity() -> dict[str, str]:
    """The identity of this process, as tags for an MLflow run."""
    return {
        "process.host": HOST,
        "process.boot": _boot(),
        "process.namespace": _namespace(),
        "process.id": str(os.getpid()),
        "process.started": _started(psutil.Process()),
    }


def state_of(identity: Mapping[str, str]) -> State:
    """The state of the process with an identity.

    Identities of older versions have no boot and no namespace. They are those of their host.
    """
    places = {"process.host": HOST, "process.boot": _boot(), "process.namespace": _namespace()}
    if any(identity.get(key, value) != value for key, value in places.items()):
        return State.UNKNOWN
    return State.ALIVE if is_alive(identity) else State.DEAD


def is_alive(identity: Mapping[str, str]) -> bool:
    """Whether a process that can be seen from here is still running."""
    try:
        process = psutil.Process(int(identity["process.id"]))
        dead = process.status() == psutil.STATUS_ZOMBIE
        return not dead and _started(process) == identity["process.started"]
    except psutil.NoSuchProcess:
        return False


def processes_in(folder: Path) -> Iterator[tuple[psutil.Process, list[str], Path]]:
    """Each process whose working directory is a folder or is below it.

    Args:
        folder: an absolute path without links.

    Returns:
        The process, the words of its command, and its working directory.
    """
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words, cwd = process.info["cmdline"], process.info["cwd"]
        if words and cwd and Path(cwd).is_relative_to(folder):
            yield process, words, Path(cwd)


def all_words(command: list[str]) -> list[str]:
    """The words of a command. DVC starts a stage by a shell, which has its command in one word."""
    return " ".join(command).split()


def modules_run_by(command: list[str], cwd: Path) -> set[str]:
    """The modules of this project that a command runs in a folder.

    It is `pipeline.train` for each of `python -m pipeline.train`, `python pipeline/train.py`, and
    `sh -c "python -m pipeline.train"`.
    """
    words = all_words(command)
    python = next((i for i, word in enumerate(words) if "python" in Path(word).name), len(words))
    files = [cwd / word for word in words[python:] if word.endswith(".py")]
    return {word for word in words if word.startswith("pipeline.")} | {
        f"pipeline.{file.stem}" for file in files if file.parent.name == "pipeline"
    }


def _started(process: psutil.Process) -> str:
    """The start time of a process, in seconds since boot, because wall clocks may be set back."""
    return f"{process.create_time() - psutil.boot_time():.2f}"


def _boot() -> str:
    """The id of this boot of the machine; "" on a system that has none."""
    return _BOOT.read_text().strip() if _BOOT.exists() else ""


def _namespace() -> str:
    """The namespace of this process's id; "" on a system that has none."""
    return str(_NAMESPACE.readlink()) if _NAMESPACE.is_symlink() else ""
