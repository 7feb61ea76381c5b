"""A copy of this repository, where tests run the real tools."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.config.stages import stage_names

REPOSITORY = Path(__file__).resolve().parents[2]
STAGES = stage_names()
# Where each stage writes.
OUTPUT = {
    "compose": "composed.yaml",
    "fetch": "data/raw",
    "prepare": "data/prepared",
    "train": "models",
    "evaluate": "reports",
}
# What git keeps of the results.
RESULTS = ("dvc.lock", "models/", "reports/")
MNIST = (REPOSITORY / "../shared/datasets/mnist").resolve()


@dataclass(frozen=True)
class Project:
    """A git repository with the files of the working tree."""

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)  # added to the environment

    @classmethod
    def copy(cls, folder: Path, params: str) -> "Project":
        """Copy the files that git tracks or would add, write params.yaml, and commit.

        The results of this repository are left out: dvc.lock, and the metrics that git keeps.
        """
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=REPOSITORY,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for name in filter(None, listed.split("\0")):
            if (source := REPOSITORY / name).is_file() and not name.startswith(RESULTS):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, folder / name)
        project = cls(folder)
        project.write("params.yaml", params)
        project.run("git", "init", "--quiet")
        project.commit()
        return project

    @classmethod
    def trained(cls, folder: Path, params: str) -> "Project":
        """Copy the repository, and run the pipeline once."""
        project = cls.copy(folder, params)
        project.repro()
        return project

    def duplicate(self, folder: Path) -> "Project":
        """A copy of this project with its results, its DVC cache and its MLflow store."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Project(folder, self.variables)

    def run(self, *command: str, status: int = 0) -> str:
        """Run a command; return what it printed, and fail if its exit status differs."""
        result = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
            check=False,
        )
        assert result.returncode == status, f"{command}: {result.returncode}\n{result.stdout}"
        return result.stdout

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command in a new process group, with unbuffered output."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env={**self.environment(), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def stop_when(self, marker: str, command: Sequence[str], number: signal.Signals) -> int:
        """Run a command, and signal its process group once it prints `marker`; its exit status."""
        process = self.start(*command)
        assert process.stdout is not None
        for line in process.stdout:
            if marker in line:
                break
        os.killpg(process.pid, number)
        process.stdout.read()
        return process.wait(60)

    def kill_when(self, marker: str) -> None:
        """Run `dvc repro`, and kill it and its children once it prints `marker`."""
        assert self.stop_when(marker, ["dvc", "repro"], signal.SIGKILL) == -signal.SIGKILL

    def python(self, code: str) -> str:
        """Run Python code in the project's folder; return the last line that it printed."""
        return self.run("python", "-c", code).splitlines()[-1]

    def environment(self) -> dict[str, str]:
        """The environment of a user who has activated `.venv`."""
        inherited = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("MLFLOW_", "DVC_", "GIT_", "DATA_MIRROR"))
        }
        tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        who = {
            f"GIT_{role}_{key}": value
            for role in ("AUTHOR", "COMMITTER")
            for key, value in (("NAME", "Test"), ("EMAIL", "test@example.org"))
        }
        return {**inherited, **who, "PATH": tools, **self.variables}

    def repro(self, *arguments: str) -> list[str]:
        """Run `dvc repro`; return the stages that ran."""
        output = self.run("dvc", "repro", *arguments)
        return [line.split("'")[1] for line in output.splitlines() if "Running stage" in line]

    def runs(self) -> int:
        """How many runs the project's MLflow store has."""
        count = "import mlflow; print(len(mlflow.search_runs(search_all_experiments=True)))"
        return int(self.python(count))

    def commit(self) -> None:
        """Commit everything, if anything changed."""
        self.run("git", "add", "--all")
        if self.run("git", "status", "--porcelain"):
            self.run("git", "commit", "--quiet", "--message", "test")

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)
