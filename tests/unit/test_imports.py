"""Which commands import TensorFlow and MLflow, which together take several seconds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config.paths import REPOSITORY

COMMANDS = sorted(
    path.stem for path in (REPOSITORY / "pipeline").glob("*.py") if "def main(" in path.read_text()
)
CODE = """
import json, runpy, sys
try:
    runpy.run_module(f"pipeline.{sys.argv[1]}", run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert not end.code, end.code
print(json.dumps(sorted({"keras", "mlflow", "tensorflow"} & set(sys.modules))))
"""


def heavy(folder: Path, command: str, *arguments: str) -> list[str]:
    """Run a command; return those of the heavy libraries that it imported."""
    result = subprocess.run(
        [sys.executable, "-c", CODE.replace("sys.argv[1]", repr(command)), *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": ""},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    libraries: list[str] = json.loads(result.stdout.splitlines()[-1])
    return libraries


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_help_imports_neither(tmp_path: Path, command: str) -> None:
    assert heavy(tmp_path, command, "--help") == []


@pytest.mark.slow
def test_compose_fetch_and_prepare_import_neither(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("data: mnist_sample\n")
    for stage in ("compose", "fetch", "prepare"):
        assert heavy(tmp_path, stage) == [], stage
    assert (tmp_path / "data/prepared/stats.json").is_file()
