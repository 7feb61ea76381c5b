"""Run the stages of dvc.yaml in a folder of their own, without DVC."""

import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pipeline.config.paths import REPOSITORY
from pipeline.system.errors import UserError


def stage_commands(code: Path, last: str = "") -> dict[str, str]:
    """The command of each stage, in the order in which they run.

    Args:
        code: the folder of the project, with its dvc.yaml.
        last: the last stage to run; "" for all.
    """
    stages: dict[str, Any] = yaml.safe_load((code / "dvc.yaml").read_text())["stages"]
    names = list(stages)
    return {name: stages[name]["cmd"] for name in names[: names.index(last) + 1 if last else None]}


def run_stages(commands: Mapping[str, str], folder: Path, code: Path, tools: Path) -> None:
    """Run stages in a folder, which also gets their MLflow store and their checkpoints.

    Args:
        commands: the command of each stage.
        folder: the working directory.
        code: the folder with the package `pipeline`.
        tools: the folder with the `python` to use.

    Raises:
        UserError: when a stage fails; it has printed why.
    """
    environment = {
        **os.environ,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(code),
    }
    environment.pop("MLFLOW_TRACKING_URI", None)
    for stage, command in commands.items():
        print(f"Running stage '{stage}'", flush=True)
        # Mirrors are relative to the real repository. All else belongs to the folder.
        root = REPOSITORY if stage == "fetch" else folder
        ended = subprocess.run(
            shlex.split(command),
            cwd=folder,
            env={**environment, "DVC_ROOT": str(root)},
            check=False,
        )
        if ended.returncode:
            raise UserError(f"stage '{stage}' failed, see above: nothing was compared")
