from pathlib import Path

import pytest

from pipeline.config.composition import compose_sweep
from pipeline.data.splits import data_digest
from pipeline.sweeps import launch_local
from pipeline.sweeps.storage import PROCESS, Store
from pipeline.sweeps.task import Task
from pipeline.sweeps.trials import complete_trials
from pipeline.system import process


@pytest.mark.slow
def test_worker_is_replaced_after_its_trials(tmp_path: Path, prepared: Path) -> None:
    """TensorFlow keeps a few megabytes of each training until its process ends."""
    sweep = compose_sweep().sweep.model_copy(
        update={"trials": 3, "workers": 1, "params": {"train.batch_size": "range(20, 40)"}}
    )
    store = Store(tmp_path / "study", "study")
    study = store.create("maximize")
    task = Task(
        store=store,
        sweep=sweep,
        base=["model=softmax", "train.epochs=1"],
        prepared=prepared,
        digest=data_digest(prepared),
        threads=1,
        tracking_uri=f"sqlite:///{tmp_path}/mlflow.db",
        parent_run="",
        session="one",
        parent=process.identity(),
        max_trials=2,
    )
    assert launch_local.launch("", task) == ""
    processes = [trial.user_attrs[PROCESS] for trial in complete_trials(study)]
    assert len(processes) == 3
    assert len(set(processes)) == 2
