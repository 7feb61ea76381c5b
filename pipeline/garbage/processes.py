"""Which processes work in the project, and so use files that look like garbage."""

from pathlib import Path

import psutil

from pipeline.system.process import modules_run_by, processes_in

# These write no checkpoints, no data of sweeps and, except in build/, no files in the project.
_ONLY_LOOK = {f"pipeline.{name}" for name in ("compare", "predict", "publish", "serve", "ui")}
_WORKERS = ("multiprocessing.spawn", "--multiprocessing-fork")  # of a sweep


def working_processes(root: Path) -> list[str]:
    """The commands that run in the project or in one of its temporary copies: DVC and ours.

    `make gc` itself, and the programs that only look, such as `mlflow ui`, are left out.
    """
    own = psutil.Process()
    ignored = {own.pid, *(parent.pid for parent in own.parents())}
    return sorted(
        f"{_shown(words)} ({process.pid})"
        for process, words, cwd in processes_in(root)
        if process.pid not in ignored and _works(process, words, cwd)
    )


def _works(process: psutil.Process, words: list[str], cwd: Path) -> bool:
    return (
        "dvc" in [Path(word).name for word in words[:3]]
        or not modules_run_by(words, cwd) <= _ONLY_LOOK
        or (any(mark in word for word in words for mark in _WORKERS) and not _serves(process))
    )


def _serves(process: psutil.Process) -> bool:
    """Whether a process was started by a web server, such as that of `mlflow ui`."""
    try:
        parent = process.parent()
        return parent is not None and "uvicorn" in parent.cmdline()
    except psutil.Error:  # the parent has ended, or is another user's
        return False


def _shown(words: list[str]) -> str:
    return " ".join([Path(words[0]).name, *words[1:]])[:100]
