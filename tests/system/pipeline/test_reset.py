"""Kill `dvc exp run` at many moments. One command brings the workspace back and keeps all edits."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.helpers.project import Project

pytestmark = pytest.mark.slow

LICENSE = "mine\n"
EXPERIMENT = ["dvc", "exp", "run", "-S", "model=mlp", "--name", "killed"]


@pytest.fixture
def project(sample: Project, tmp_path: Path) -> Project:
    """A trained project with edits that are not committed."""
    project = sample.duplicate(tmp_path / "project")
    project.run("git", "branch", "--move", "work")
    project.write("LICENSE", LICENSE)
    project.write("README.md", project.read("README.md") + "edited\n")
    project.run("git", "add", "LICENSE")
    project.write("params.yaml", project.read("params.yaml") + "# edited\n")
    return project


def assert_reset(project: Project) -> str:
    """Reset the project; return what the command prints."""
    readme = project.run("git", "show", "HEAD:README.md") + "edited\n"
    printed = project.run("python", "-m", "pipeline.reset")
    assert project.run("git", "branch", "--show-current") == "work\n"
    changed = project.run("git", "diff", "--name-only", "HEAD").split()
    assert changed == ["LICENSE", "README.md"]
    assert project.read("LICENSE") == LICENSE
    assert project.read("README.md") == readme
    assert project.run("git", "stash", "list") == ""
    assert project.run("dvc", "status") == "compose:\n\talways changed\n"
    return printed


def running(project: Project, module: str) -> psutil.Process | None:
    """The process of a module that runs in a project's folder."""
    for process in psutil.process_iter(["cmdline", "cwd"]):
        if process.info["cwd"] == str(project.folder) and module in (process.info["cmdline"] or []):
            return process
    return None


@pytest.mark.parametrize(
    "form",
    ["--force", *(pytest.param(form, marks=pytest.mark.long) for form in ("--queue", "--temp"))],
)
def test_kill_while_the_experiment_is_prepared(project: Project, form: str) -> None:
    """`--force` stands for a run in the workspace."""
    for delay in (0.0, 0.05, 0.3, 1.2):
        process = project.start(*EXPERIMENT, form)
        while not (project.folder / ".git/refs/stash").exists() and process.poll() is None:
            time.sleep(0.001)
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert_reset(project)
        project.write("params.yaml", project.read("params.yaml") + "# edited\n")


def test_edits_since_the_kill_leave_the_older_ones_in_the_stash(project: Project) -> None:
    """As after a kill in the moment when DVC has put the edits away."""
    (project.folder / ".dvc/tmp/exps").mkdir(parents=True, exist_ok=True)
    project.write(".dvc/tmp/exps/rwlock", json.dumps({"write": {"workspace": {"pid": 1}}}))
    project.run("git", "stash", "push", "--quiet")
    project.write("README.md", "edited again\n")
    printed = project.run("python", "-m", "pipeline.reset")
    assert "other edits to README.md;" in printed
    assert "git stash show -p stash@{0}" in printed
    assert project.read("README.md") == "edited again\n"
    assert project.read("LICENSE") == LICENSE
    assert "+edited\n" in project.run("git", "stash", "show", "-p", "stash@{0}")


@pytest.mark.long
def test_kill_while_the_experiment_trains(project: Project) -> None:
    committed = project.run("git", "show", "HEAD:params.yaml")
    assert project.stop_when("epoch 1", EXPERIMENT, signal.SIGKILL) == -signal.SIGKILL
    assert project.run("git", "branch", "--show-current") == ""
    printed = assert_reset(project)
    assert "back on branch work" in printed
    assert "    +model: mlp" in printed
    assert project.read("params.yaml") == committed
    # The same command runs again, and nothing of it is lost by another reset.
    project.run(*EXPERIMENT)
    assert "model: mlp" in project.read("params.yaml")
    assert_reset(project)
    assert "killed" in project.run("dvc", "exp", "list")


def test_kill_of_a_run_outside_the_workspace_leaves_only_a_folder(project: Project) -> None:
    before = project.run("git", "status", "--porcelain")
    copies = project.folder / ".dvc/tmp/exps/standalone"
    project.stop_when("epoch 1", [*EXPERIMENT, "--temp"], signal.SIGKILL)
    assert project.run("git", "status", "--porcelain") == before
    assert list(copies.glob("tmp*"))
    assert_reset(project)
    assert not list(copies.glob("tmp*"))


def test_reset_waits_for_a_stage_that_still_runs(project: Project) -> None:
    process = project.start(*EXPERIMENT)
    while not (stage := running(project, "pipeline.train")):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()  # but not the stage
    stage.suspend()  # so that it cannot end before the reset looks
    head = project.read(".git/HEAD")
    message = project.run("python", "-m", "pipeline.reset", status=1)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert message.startswith("error: still running: ")
    assert "-m pipeline.train; wait for it, or end it with `kill " in message
    assert project.read(".git/HEAD") == head
    assert_reset(project)


def test_outputs_that_are_not_in_the_cache(project: Project) -> None:
    shutil.rmtree(project.folder / ".dvc/cache")
    shutil.rmtree(project.folder / "models")
    printed = project.run("python", "-m", "pipeline.reset")
    assert "not in DVC's cache: " in printed
    assert "models/model.keras" in printed
    assert "`make repro` makes them" in printed
