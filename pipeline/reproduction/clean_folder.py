"""A clean folder with the code, the configuration and the libraries of a recorded run."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from pipeline.artifacts.initial import initial_model
from pipeline.config.paths import COMPOSED
from pipeline.config.yaml_files import dump_values
from pipeline.reproduction.recorded import Recorded
from pipeline.system.errors import UserError
from pipeline.system.files import write_text
from pipeline.system.git import apply_patch, export_commit
from pipeline.tracking.environment import environment_tags


def write_code(recorded: Recorded, folder: Path) -> None:
    """Write the commit of a run, with its uncommitted changes; say what they are."""
    export_commit(recorded.commit, folder)
    print(f"commit {recorded.commit[:12]}")
    if recorded.patch:
        apply_patch(recorded.patch, folder)
        text = recorded.patch.read_text("utf-8", errors="replace")
        names = re.findall(r"^diff --git .* \"?b/(.*?)\"?$", text, flags=re.M)
        print(f"with the changes that were not committed: {', '.join(names)}")
    if lost := recorded.lost_changes:
        print(f"without the changes that the run did not keep: {lost}")


def write_configuration(recorded: Recorded, folder: Path) -> None:
    """Write composed.yaml with the threads and the initial model that the run had.

    Raises:
        UserError: when no run of the store has the initial model.
    """
    config: dict[str, Any] = {**recorded.config, "train": {**recorded.config["train"]}}
    if "threads" in config["train"]:
        config["train"]["threads"] = int(recorded.tags["threads"])
    if digest := recorded.init_digest:
        init = folder / "init.keras"
        with initial_model(config["train"]["init_from"], digest) as found:
            shutil.copyfile(str(found), init)
        config["train"]["init_from"] = str(init)
    write_text(folder / COMPOSED, dump_values(config))


def tools_for(recorded: Recorded, folder: Path) -> Path:
    """The folder with the `python` to use: this one if it has the run's versions, else a new one.

    Args:
        recorded: the run.
        folder: the clean folder, where `make setup` installs the locked versions of the commit.

    Raises:
        UserError: when they cannot be installed.
    """
    here = environment_tags(threads=1)
    other = [
        f"{key.removeprefix('version.')} {value}"
        for key, value in recorded.tags.items()
        if key.startswith("version.") and here.get(key) != value
    ]
    if not other:
        return Path(sys.executable).parent
    print(f"The run had other versions: {', '.join(other)}. Installing those of its commit.")
    if subprocess.run(["make", "setup"], cwd=folder, check=False).returncode:
        raise UserError("`make setup` failed in the commit of the run, see above")
    return folder / ".venv" / "bin"
