import pickle
from pathlib import Path

import pytest

from pipeline.sweeps.storage import Store
from tests.helpers.tasks import task_of


@pytest.mark.parametrize("database", ["", "postgresql://db/optuna"])
def test_task_is_the_same_in_another_process(tmp_path: Path, database: str) -> None:
    store = Store(tmp_path / "study", "study", database)
    task = task_of(store, tmp_path, parent={"process.id": "1"})
    received = pickle.loads(pickle.dumps(task))
    assert received == task
    assert received is not task
