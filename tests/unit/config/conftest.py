"""What several test files of the configuration share."""

import shutil
from pathlib import Path

import pytest

from pipeline.config.paths import CONF


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A copy of conf/ that a test may break."""
    shutil.copytree(CONF, tmp_path / "conf")
    return tmp_path / "conf"
