"""Which processes work in the project, and so use files that look like garbage."""

from collections.abc import Iterator
from pathlib import Path

import psutil

_WORKERS = ("multiprocessing.spawn", "--multiprocessing-fork")  # of a sweep


def working_processes(root: Path) -> list[str]:
    """The commands that run in the project or in one of its temporary copies: DVC and ours.

    `make gc` itself, and the programs that only look, such as `mlflow ui`, are left out.
    """
    own = psutil.Process()
    ignored = {own.pid, *(parent.pid for parent in own.parents())}
    return sorted(
        f"{_shown(words)} ({process.pid})"
        for process, words in _inside(root)
        if process.pid not in ignored and _works(words)
    )


def _inside(root: Path) -> Iterator[tuple[psutil.Process, list[str]]]:
    """Each process in the project's folder or below it, with the words of its command."""
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words, cwd = process.info["cmdline"], process.info["cwd"]
        if words and cwd and Path(cwd).is_relative_to(root):
            yield process, words


def _works(words: list[str]) -> bool:
    # A shell has a stage's command in one word.
    every = " ".join(words).split()
    return (
        "dvc" in [Path(word).name for word in words[:3]]
        or any(word.startswith("pipeline.") for word in every)
        or any(mark in word for word in words for mark in _WORKERS)
    )


def _shown(words: list[str]) -> str:
    return " ".join([Path(words[0]).name, *words[1:]])[:100]
