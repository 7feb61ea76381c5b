"""What `make` says to a user who mistypes. Nothing is installed or run."""

import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.config.paths import REPOSITORY


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a space in its path, which has the Makefile and the mark of a ready .venv."""
    path = tmp_path / "a folder"
    (path / ".venv/bin").mkdir(parents=True)
    shutil.copy(REPOSITORY / "Makefile", path)
    (path / "requirements.txt").touch()
    (path / ".venv/.requirements.txt.ready").touch()
    (path / ".venv/bin/dvc").write_text("#!/bin/sh\n")
    return path


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    return subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["foo"], "no target 'foo'; the targets are: help setup repro"),
        (["tests"], "no target 'tests'"),
        (["predict"], 'name the image files: make predict FILES="a.png b.png"'),
        (["promote"], "name a study: make promote STUDY=depth; there is none yet: make sweep"),
        (["replicate"], "name a study: make replicate STUDY=depth; there is none yet: make sweep"),
        (["ui", "PORT=http"], "PORT must be a number, not 'http': make ui PORT=5001"),
        (["fuzz", "FUZZ_SECONDS=1m"], "FUZZ_SECONDS must be a whole number, not '1m'"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_mistake_is_one_line(folder: Path, arguments: list[str], message: str) -> None:
    (folder / "tests").mkdir()
    result = make(folder, *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


def test_studies_are_listed(folder: Path) -> None:
    for name in ("depth", "seeds"):
        (folder / ".sweeps" / name).mkdir(parents=True)
        (folder / ".sweeps" / name / "journal").touch()
    assert "there are: depth seeds" in make(folder, "promote").stderr


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["predict", "FILES='my digit.png' b.png"], "pipeline.predict 'my digit.png' b.png"),
        (["predict", "FILES=a.png", "MODEL=my model"], '--model "my model"'),
        (["predict", "FILES=a", "ARGS=--explain steps"], "pipeline.predict a  --explain steps"),
        (["promote", "STUDY=depth"], "pipeline.promote depth"),
        (["replicate", "STUDY=depth", "SEEDS=9"], "pipeline.replicate depth  --seeds 9"),
        (["sweep", "ARGS=train.init_from='git:HEAD~1'"], "train.init_from='git:HEAD~1'"),
        (["reset"], "pipeline.reset"),
        (["reset", "TO=HEAD~1"], 'pipeline.reset "HEAD~1"'),
        (["ui", "PORT=1"], "pipeline.ui --port 1"),
        (["gc", "YES=1"], "pipeline.gc --yes"),
        (["gc", "DRY_RUN=no"], "pipeline.gc \n"),
        (["gc", "YES=No"], "pipeline.gc --dry-run\n"),
        (["gc", "YES=no", "DRY_RUN=1"], "pipeline.gc --dry-run\n"),
    ],
    ids=lambda value: "" if isinstance(value, list) else value,
)
def test_arguments_reach_the_command(folder: Path, arguments: list[str], command: str) -> None:
    result = make(folder, "--dry-run", *arguments)
    assert result.stderr == ""
    assert command in result.stdout


@pytest.mark.parametrize("interpreter", ["#!/nowhere/.venv/bin/python\n", ""])
def test_environment_that_moved_is_made_again(folder: Path, interpreter: str) -> None:
    assert "pipeline/setup.py .venv" not in make(folder, "--dry-run", "repro").stdout
    (folder / ".venv/bin/dvc").write_text(interpreter)
    assert "pipeline/setup.py .venv" in make(folder, "--dry-run", "repro").stdout


def test_clean_removes_results_and_keeps_what_took_hours(folder: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    shutil.copy(REPOSITORY / ".gitignore", folder)
    results = ["models/model.keras", "reports/a.png", "exports/model.onnx", "data/raw/a", "build/a"]
    kept = [".sweeps/depth/journal", ".checkpoints/a/1", "mlruns/a", "models/metrics.json"]
    for name in (*results, *kept):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    assert make(folder, "clean").returncode == 0
    assert [name for name in (*results, *kept) if (folder / name).exists()] == kept


def test_targets_are_listed(folder: Path) -> None:
    listed = make(folder).stdout
    for target in ("repro", "reset", "ui", "predict"):
        assert f"\n  {target} " in listed
