"""The ids of MLflow that git, DVC and the sweeps name, such as in `train.init_from`."""

import re
from pathlib import Path

from pipeline.config.paths import COMPOSED
from pipeline.system.git import ask_git

_ID = r"(?:m-)?[0-9a-f]{32}"
_URI = re.compile(rf"(?:runs|models):/+({_ID})")
_FILES = ("params.yaml", "dvc.lock", "conf")
_QUEUE = "refs/exps/celery/stash"  # DVC's queued experiments are in its reflog


def ids_in(text: str) -> set[str]:
    """The ids of runs and logged models in any text."""
    return {*re.findall(rf"(?<![0-9a-f]){_ID}(?![0-9a-f])", text)}


def named_ids(root: Path) -> set[str]:
    """The ids in the URIs of the workspace, of all branches, tags and experiments, and of sweeps.

    Args:
        root: the root of the repository.
    """
    return {*_URI.findall("\n".join([_texts_in_git(root), *_texts_in_files(root)]))}


def _texts_in_git(root: Path) -> str:
    """The lines with such URIs in params.yaml, dvc.lock and conf/ of all commits with a name."""
    git = ("-C", str(root))
    commits = ask_git(*git, "for-each-ref", "--format=%(objectname)").split()
    commits += ask_git(*git, "log", "-g", "--format=%H", _QUEUE, "--").split()
    commits += ask_git(*git, "rev-parse", "--verify", "--quiet", "HEAD^{commit}").split()
    lines = []
    unique = sorted({*commits})
    for start in range(0, len(unique), 500):  # the length of a command line is limited
        some = unique[start : start + 500]
        grep = ("grep", "-h", "-I", "-o", "-E", _URI.pattern.replace("?:", ""))
        lines.append(ask_git(*git, *grep, *some, "--", *_FILES))
    return "\n".join(lines)


def _texts_in_files(root: Path) -> list[str]:
    paths = [root / "params.yaml", root / COMPOSED, root / "dvc.lock"]
    paths += [*(root / "conf").rglob("*.yaml"), *root.glob(".sweeps/*/journal")]
    paths += [*root.glob(".dvc/tmp/exps/**/params.yaml")]
    return [path.read_text("utf-8", "replace") for path in paths if path.is_file()]
