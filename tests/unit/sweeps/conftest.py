"""What several tests of sweeps share."""

import shutil
from pathlib import Path

import pytest

from pipeline.config.paths import CONF
from pipeline.sweeps.storage import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Where an empty study is kept, whose metric is maximized."""
    store = Store(tmp_path / "study", "study")
    store.create("maximize")
    return store


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of conf/ that gets the presets."""
    copy = tmp_path / "conf"
    shutil.copytree(CONF, copy)
    monkeypatch.setattr("pipeline.sweeps.presets.CONF", copy)
    return copy
