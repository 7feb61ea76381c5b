"""Results of the workspace, of git revisions and of DVC's experiments."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException

from pipeline.comparison.result import Result, as_settings
from pipeline.config.paths import COMPOSED, DEFAULT_MODEL
from pipeline.system.dvc import failure, run_dvc
from pipeline.system.errors import UserError, one_line
from pipeline.system.git import ask_git, text_at
from pipeline.training.history import parse_history, parse_metrics

WORKSPACE = "workspace"
Read = Callable[[str], str]  # the text of a file, by its path; raises OSError if there is none


def workspace_and_experiments() -> list[Result]:
    """The rows of `dvc exp show`: the workspace, HEAD, and the experiments that started from it."""
    shown = run_dvc("exp", "show", "--json")
    if shown.returncode:
        raise UserError(f"`dvc exp show` failed: {failure(shown)}")
    found = [_workspace()]
    for commit in json.loads(shown.stdout)[1:]:  # the first is the workspace
        found.append(_revision("HEAD", commit["rev"]))
        for experiment in commit["experiments"] or []:
            found.append(_experiment(experiment))
    return found


def find_revision(name: str) -> Result | None:
    """The result of the workspace, a git revision or an experiment; None if there is no such name.

    Experiments of all commits are known. If several have the name, the newest counts. `git:<name>`
    is the same as the name.
    """
    if name == WORKSPACE:
        return _workspace()
    plain = name.removeprefix("git:")
    commit = ask_git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{plain}^{{commit}}")
    revision = commit or _experiments().get(plain)
    return _revision(name, revision) if revision else None


def known_names() -> list[str]:
    """The names of branches, tags and experiments."""
    branches = ask_git("for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags")
    return [WORKSPACE, *branches.splitlines(), *_experiments()]


def _experiments() -> dict[str, str]:
    """The commit of each experiment. DVC keeps it as refs/exps/<2 digits>/<38 digits>/<name>."""
    listed = ask_git(
        "for-each-ref",
        "--sort=committerdate",
        "--format=%(objectname) %(refname:lstrip=4)",
        "refs/exps",
    )
    pairs = (line.split(" ", 1) for line in listed.splitlines())
    return {name: commit for commit, name in pairs if name}


def _experiment(shown: dict[str, Any]) -> Result:
    name = shown["name"] or shown["revs"][0]["rev"][:7]
    state = (shown["executor"] or {}).get("state", "success")
    if state != "success":
        # Its files are those of the commit that it started from.
        return Result(name, state=state)
    return _revision(name, shown["revs"][0]["rev"])


def _workspace() -> Result:
    return _result(WORKSPACE, lambda path: Path(path).read_text(), DEFAULT_MODEL)


def _revision(name: str, revision: str) -> Result:
    return _result(name, _reader(revision), f"git:{revision}")


def _reader(revision: str) -> Read:
    def read(path: str) -> str:
        text = text_at(revision, path)
        if text is not None:
            return text
        # In older revisions, DVC keeps the metrics.
        return str(DVCFileSystem(rev=revision).read_text(path))

    return read


def _result(name: str, read: Read, model: str) -> Result:
    """The result that the files of a revision or of the workspace hold, and its model's URI."""
    path = "models/history.csv"
    try:
        history = parse_history(read(path))
        test = parse_metrics(read(path := "reports/metrics.json"), ("test_accuracy",))
        stages = yaml.safe_load(read(path := "dvc.lock"))["stages"]
        params = [stage.get("params", {}) for stage in stages.values()]
        chosen = stages.get("compose", {}).get("params", {}).get("params.yaml") or {}
        inputs = {dep["path"]: dep["md5"] for dep in stages["train"].get("deps", [])}
    except (FileNotFoundError, DvcException):
        return Result(name, state="no results")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError) as error:
        detail = f": {one_line(error)}" if isinstance(error, OSError | ValueError) else ""
        mend = "; `make repro` restores it" if name == WORKSPACE else ""
        return Result(name, state="unreadable", problem=f"{path} is damaged{detail}{mend}")
    sections = [as_settings(files.get(COMPOSED) or {}) for files in params]
    settings = {key: value for section in sections for key, value in section.items()}
    # A choice has the name of its file: two models may have the same `_target_`.
    settings |= {key: file for key, file in chosen.items() if isinstance(file, str)}
    data = inputs.get("data/prepared", "")
    return Result(name, settings, history, test, model=model, data=data)
