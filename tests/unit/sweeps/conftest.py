"""What several tests of sweeps share."""

from pathlib import Path

import pytest

from pipeline.sweeps.storage import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Where an empty study is kept, whose metric is maximized."""
    store = Store(tmp_path / "study", "study")
    store.create("maximize")
    return store
