"""Faults of the system: each is one error, after which the stage can run again."""

import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.privileges import drop_privileges
from tests.helpers.project import OUTPUT, STAGES, Project

pytestmark = pytest.mark.slow

OUTPUTS = ["composed.yaml", "data", "models", "reports"]


@pytest.fixture
def project(sample: Project, tmp_path: Path) -> Project:
    """A copy of `sample` with all outputs of the pipeline, but without DVC's cache."""
    project = sample.duplicate(tmp_path / "project")
    for name in (".dvc/cache", "mlflow.db", "mlruns"):
        path = project.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return project


def limit_file_size(size: int) -> Callable[[], None]:
    """A limit on the size of a file, which acts like a full disk."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def refused(project: Project, stage: str, limit: Callable[[], None]) -> str:
    """Run a stage that fails under a limit; return the last line that it prints."""
    result = subprocess.run(
        [sys.executable, "-m", f"pipeline.{stage}"],
        cwd=project.folder,
        # Python before 3.12.8 leaves half-written bytecode on a full disk (its issue 126606).
        env={**project.environment(), "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=limit,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 1, result.stdout
    assert "Traceback" not in result.stdout
    return result.stdout.splitlines()[-1]


def files(project: Project) -> dict[str, bytes]:
    """The outputs, and any other files in their folders."""
    return {
        str(path.relative_to(project.folder)): path.read_bytes()
        for name in OUTPUTS
        for path in sorted({project.folder / name, *(project.folder / name).rglob("*")})
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("stage", "size"),
    [
        ("compose", 100),
        ("fetch", 100_000),
        ("prepare", 100_000),
        pytest.param("train", 1_000_000, marks=pytest.mark.long),
    ],
)
def test_full_disk(sample: Project, project: Project, stage: str, size: int) -> None:
    whole = files(sample)
    output = project.folder / OUTPUT[stage]
    shutil.rmtree(output) if output.is_dir() else output.unlink()
    line = refused(project, stage, limit_file_size(size))
    assert line.startswith("error: ")
    assert "File too large" in line
    left = files(project)
    assert left.items() <= whole.items(), "no half-written file has a final name"
    project.run("python", "-m", f"pipeline.{stage}")
    assert files(project) == whole


@pytest.mark.parametrize("stage", STAGES)
def test_folder_without_permission(sample: Project, project: Project, stage: str) -> None:
    output = project.folder / OUTPUT[stage]
    folder = output if output.is_dir() else project.folder
    folder.chmod(0o555)
    line = refused(project, stage, drop_privileges)
    folder.chmod(0o755)
    assert line.startswith("error: [Errno 13] Permission denied: ")
    assert files(project) == files(sample)


@pytest.mark.long
def test_two_pipelines_at_once(sample: Project, tmp_path: Path) -> None:
    project = Project.copy(tmp_path / "both", sample.read("params.yaml"))
    both = [project.start("dvc", "repro") for _ in range(2)]
    printed = [process.communicate(timeout=600)[0] for process in both]
    assert 0 in [process.returncode for process in both], printed
    assert not any("Traceback" in text for text in printed), printed
    project.run("dvc", "repro")
    assert project.read("dvc.lock") == sample.read("dvc.lock")
    assert statuses(project) == ["FINISHED"]


def statuses(project: Project) -> list[str]:
    """The statuses of all MLflow runs."""
    return project.python(
        "import mlflow; print(*(run.info.status for run in"
        " mlflow.search_runs(search_all_experiments=True, output_format='list')))"
    ).split()


JUMPING_CLOCK = """
import random, time
real, real_ns, jump = time.time, time.time_ns, random.Random(0)
time.time = lambda: real() + jump.choice([-1e7, 0, 1e6])
time.time_ns = lambda: real_ns() + jump.choice([-1, 0, 1]) * 10**16
"""


@pytest.mark.long
def test_clock_that_jumps(sample: Project, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(JUMPING_CLOCK)
    project = Project.copy(tmp_path / "project", sample.read("params.yaml"))
    jumping = Project(project.folder, {"PYTHONPATH": str(tmp_path)})
    jumping.kill_when("epoch 1/")
    jumping.repro()
    assert jumping.read("dvc.lock") == sample.read("dvc.lock")
    assert statuses(jumping) == ["FINISHED"]
