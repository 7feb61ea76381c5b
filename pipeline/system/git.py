"""Run git in the working directory, and read what it prints."""

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.system.errors import UserError, one_line
from pipeline.system.files import TEMPORARY


class Entry(NamedTuple):
    """An entry of a reflog."""

    commit: str
    time: int  # seconds since 1970
    message: str


def git(*arguments: str) -> str:
    """Run git; return what it prints, without the last newline. Paths are taken literally.

    Raises:
        UserError: when git fails.
    """
    result = _run(arguments)
    if result.returncode:
        problem = one_line(result.stderr.decode(errors="replace"))
        raise UserError(f"`git {' '.join(arguments[:2])}` failed: {problem}")
    return result.stdout.decode(errors="surrogateescape").removesuffix("\n")


def ask_git(*arguments: str) -> str:
    """What git prints, without the last newline; "" if it fails."""
    result = _run(arguments)
    answer = "" if result.returncode else result.stdout.decode(errors="surrogateescape")
    return answer.removesuffix("\n")


def file_names(*arguments: str) -> list[str]:
    """The file names that a git command with -z prints."""
    return [name for name in git(*arguments).split("\0") if name]


def file_content(commit: str, name: str) -> bytes:
    """A file of a commit as git would check it out; empty if the commit does not have it.

    Args:
        commit: any revision.
        name: the path below the top folder of the repository.
    """
    return _run(("cat-file", "--filters", f"{commit}:{name}")).stdout


def text_at(revision: str, path: str, folder: Path = Path()) -> str | None:
    """The text of a file of a revision; None if git does not have it.

    Args:
        revision: any revision.
        path: the path below `folder`.
        folder: a folder of the repository; by default the working directory.
    """
    shown = _run(("-C", str(folder), "show", f"{revision}:./{path}"))
    return None if shown.returncode else shown.stdout.decode(errors="surrogateescape")


def reflog(ref: str) -> list[Entry]:
    """The entries of a ref's reflog, newest first; none if there is no such ref."""
    text = ask_git("log", "-g", "--date=unix", "--format=%H %gd %gs", ref, "--")
    entries = []
    for line in text.splitlines():
        commit, place, message = line.split(" ", 2)
        entries.append(Entry(commit, int(place.rpartition("@{")[2].rstrip("}")), message))
    return entries


def patch_of(names: Sequence[str]) -> bytes:
    """The uncommitted changes of some files, as `git apply` takes them; new files are whole.

    Args:
        names: paths below the working directory, to which those in the patch are relative.
    """
    with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:
        # In a copy of the index, so that git shows new files and the user's index stays as it is.
        index = Path(folder) / "index"
        own = Path(git("rev-parse", "--absolute-git-dir")) / "index"
        if own.exists():
            # With its time: git reads a file again only if it is not older than the index.
            shutil.copy2(own, index)
        environment = {**os.environ, "GIT_INDEX_FILE": str(index)}
        present = [name for name in names if os.path.lexists(name)]
        _run(("add", "--intent-to-add", "--", *present), environment)
        plain = ("--no-ext-diff", "--no-textconv", "--no-color", "--binary", "--relative")
        return _run(("diff", *plain, "HEAD", "--", *names), environment).stdout


def export_commit(commit: str, folder: Path) -> None:
    """Write the files of a commit below the working directory to another folder, without git's.

    Raises:
        UserError: when the repository does not have the commit.
    """
    archive = _run(("archive", "--format=tar", commit))
    if archive.returncode:
        raise UserError(f"this git repository has no commit {commit[:12]}: try `git fetch --all`")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        # Python before 3.11.4, as in Debian 12, has no filter, and needs none: git wrote the files.
        files.extraction_filter = getattr(tarfile, "data_filter", None)
        files.extractall(folder)  # noqa: S202


def apply_patch(patch: Path, folder: Path) -> None:
    """Apply a patch to the files of a folder that is not in a git repository.

    Raises:
        UserError: when it does not fit.
    """
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)}
    command = ["git", "apply", "--whitespace=nowarn", str(patch)]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    if result.returncode:
        problem = one_line(result.stderr.decode(errors="replace"))
        raise UserError(f"{patch.name} does not fit the commit: {problem}")


def _run(
    arguments: tuple[str, ...], environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    command = ["git", "--literal-pathspecs", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, check=False)
