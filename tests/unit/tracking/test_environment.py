import getpass
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from pipeline.config.paths import REPOSITORY
from pipeline.system.processor import usable_cores
from pipeline.system.versions import tensorflow_requirement
from pipeline.tracking.environment import (
    environment_tags,
    source_tags,
)

TAGS_IN_A_PROCESS = """
import json
from pipeline.tracking.environment import environment_tags
print(json.dumps(environment_tags(1)))
"""


def test_tags_say_where_a_run_ran() -> None:
    tags = environment_tags(3)
    assert tags["threads"] == "3"
    assert tags["deterministic"] == "true"
    assert tags["cpu.cores"] == str(usable_cores())
    assert tags["version.python"] == platform.python_version()
    for package in ("keras", "numpy", "mlflow", "dvc", "hydra-core"):
        assert tags[f"version.{package}"] == version(package)
    assert tags["git.dirty"] in ("true", "false")
    assert source_tags().items() <= tags.items()
    assert all(isinstance(value, str) for value in tags.values())


def test_number_of_threads_is_not_cached() -> None:
    assert [environment_tags(threads)["threads"] for threads in (1, 2)] == ["1", "2"]


def git(*arguments: str) -> str:
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    return subprocess.run(
        ["git", *who, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize("state", ["clean", "dirty", "no repository"])
def test_commit_is_that_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """In another process, since the tags are cached."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    if state != "no repository":
        git("init", "--quiet")
        git("commit", "--quiet", "--allow-empty", "--message", "test")
    if state == "dirty":
        (tmp_path / "file").touch()
    output = subprocess.run(
        [sys.executable, "-c", TAGS_IN_A_PROCESS],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    commit = "" if state == "no repository" else git("rev-parse", "HEAD")
    assert f'"mlflow.source.git.commit": "{commit}"' in output
    assert f'"git.dirty": "{str(state == "dirty").lower()}"' in output


def test_source_is_the_user_and_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["a/script.py", "argument"])
    assert source_tags() == {
        "mlflow.user": getpass.getuser(),
        "mlflow.source.name": "a/script.py",
        "mlflow.source.type": "LOCAL",
    }


def test_tensorflow_is_required_in_its_installed_version() -> None:
    name, _, number = tensorflow_requirement().partition("==")
    assert name in ("tensorflow", "tensorflow-cpu")
    assert number == version(name)
    assert environment_tags(1)["version.tensorflow"] == number
