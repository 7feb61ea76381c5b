"""What several unit tests share.

MLflow takes seconds to import. Only the fixtures that need it import it, so that the other
tests do not wait.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.mirrors import CONTENTS, Mirror


@pytest.fixture
def mirrors(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Mirror]]:
    """Two mirrors: an empty one, and one that has every file."""
    monkeypatch.delenv("DATA_MIRROR", raising=False)
    both = [Mirror(), Mirror()]
    both[1].serve(CONTENTS)
    yield both
    for mirror in both:
        mirror.server.shutdown()
        mirror.server.server_close()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The root of a repository that has no MLflow store yet."""
    import mlflow

    before = mlflow.get_tracking_uri()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    yield tmp_path
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs. It is created once, which takes several seconds."""
    import mlflow

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_experiments(max_results=1)
    return path


@pytest.fixture
def tracked(repository: Path, empty_database: Path) -> Path:
    """The root of a repository whose MLflow store has the experiment `digits`."""
    from pipeline.tracking.store import connect

    shutil.copy(empty_database, repository / "mlflow.db")
    connect("digits")
    return repository
