"""The prepared data of a sweep, on the machine that starts it and on its workers' machines."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

from pipeline.config.composition import compose
from pipeline.config.paths import repository_root
from pipeline.config.schema import Config
from pipeline.config.stages import stage_code
from pipeline.data.splits import data_digest, is_prepared
from pipeline.fetch import fetch
from pipeline.prepare import prepare
from pipeline.sweeps.task import SWEEPS_FOLDER, Task
from pipeline.system.errors import UserError
from pipeline.system.files import sha256


def prepare_data(cfg: Config) -> Path:
    """Prepare the data of a configuration; use the workspace's data if its settings are the same.

    Returns:
        The folder of the prepared data.
    """
    workspace = compose(params=Path("params.yaml"))
    if (cfg.data, cfg.prepare) != (workspace.data, workspace.prepare):
        return build_data(cfg)
    # Several sweeps may start in one folder.
    with FileLock(repository_root() / SWEEPS_FOLDER / "prepare.lock"):
        if subprocess.run(
            [sys.executable, "-m", "dvc", "repro", "prepare"], check=False
        ).returncode:
            raise UserError("`dvc repro prepare` failed")
    return Path("data/prepared").resolve()


def find_data(task: Task) -> Path:
    """The prepared data on a worker's machine. Data that is missing or different is built here.

    Raises:
        UserError: when the data built here differs from the sweep's.
    """
    if is_prepared(task.prepared) and data_digest(task.prepared) == task.digest:
        return task.prepared
    prepared = build_data(compose(task.base))
    if (digest := data_digest(prepared)) != task.digest:
        raise UserError(f"{prepared}: its digest is {digest}, but the sweep's is {task.digest}")
    return prepared


def build_data(cfg: Config) -> Path:
    """Fetch and prepare the data of a configuration once, in a folder apart from the workspace's.

    Returns:
        The folder of the prepared data.
    """
    folder = data_folder(cfg)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "build.lock"):
        if not is_prepared(folder / "prepared"):
            fetch(cfg.data, cfg.fetch, folder / "raw")
            prepare(cfg.data, cfg.prepare, folder / "raw", folder / "prepared")
    return folder / "prepared"


def data_folder(cfg: Config) -> Path:
    """Where `build_data` keeps the data of a configuration. Other code has another folder."""
    settings = [cfg.data.model_dump(), cfg.prepare.model_dump(), cfg.versions.prepare]
    code = [sha256(path) for path in stage_code("prepare")]
    key = json.dumps([*settings, code], sort_keys=True)
    name = hashlib.sha256(key.encode()).hexdigest()[:12]
    return repository_root() / SWEEPS_FOLDER / ".data" / name
