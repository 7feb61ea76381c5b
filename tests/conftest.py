"""What all tests share."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from pipeline.config.composition import compose
from pipeline.config.paths import CONF
from pipeline.config.schema import Config
from pipeline.config.yaml_files import load_config, save_config
from pipeline.prepare import prepare
from tests.helpers import tiny
from tests.helpers.configs import MakeConfig
from tests.helpers.project import STAGES, Project

# A shell makes background processes ignore Ctrl-C. The processes that tests start must not.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def cfg(tmp_path_factory: pytest.TempPathFactory) -> MakeConfig:
    """Composes conf/ with overrides and loads the result, as the stages do."""
    path = tmp_path_factory.mktemp("cfg") / "composed.yaml"

    def make(*overrides: str, conf: Path = CONF) -> Config:
        save_config(compose(overrides, conf=conf), path)
        return load_config(path)

    return make


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, cfg: MakeConfig) -> Path:
    """The prepared tiny data set: 120 training, 30 validation and 60 test images."""
    folder = tmp_path_factory.mktemp("tiny")
    raw = tiny.write_raw(folder / "raw", tiny.split(150), tiny.split(60, seed=1))
    settings = cfg("prepare.validation_fraction=0.2").prepare
    prepare(tiny.DATA, settings, raw, folder / "prepared")
    return folder / "prepared"


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with the sample, trained and evaluated. Tests must not change it."""
    # The processes of pytest-xdist share it: the first one trains it, and each has a copy.
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    trained = shared / "trained"
    with FileLock(shared / "trained.lock"):
        if not trained.exists():
            project = Project.copy(shared / "training", "data: mnist_sample\nmodel: null\n")
            assert project.repro() == STAGES
            project.commit()
            project.folder.rename(trained)
    project = Project(trained).duplicate(tmp_path_factory.mktemp("sample") / "project")
    project.python("from pipeline.tracking.store import use_store; use_store(); print()")
    return project


@pytest.fixture
def edited(sample: Project) -> Iterator[Project]:
    """The project `sample`, whose edits and runs are undone after the test."""
    store, kept = sample.folder / "mlflow.db", sample.folder / ".git/mlflow.db"
    shutil.copy(store, kept)
    yield sample
    shutil.copy(kept, store)
    sample.run("git", "checkout", "--quiet", ".")
    sample.run("git", "clean", "--quiet", "--force", "conf")
    sample.run("dvc", "checkout", "--quiet", "--force")
