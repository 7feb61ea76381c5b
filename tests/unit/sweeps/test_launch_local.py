import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.composition import compose_sweep
from pipeline.data.splits import data_digest
from pipeline.sweeps import launch_local
from pipeline.sweeps.storage import Store
from pipeline.sweeps.task import Task
from pipeline.sweeps.trials import PROCESS, complete_trials
from pipeline.system import process
from tests.helpers.configs import changed
from tests.helpers.tasks import task_of


@dataclass(frozen=True)
class DeadlyTask(Task):
    """Kills the process that receives it, before that imports TensorFlow."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (9,)


@pytest.mark.slow
def test_worker_that_dies_is_reported_with_its_exit_code(store: Store, tmp_path: Path) -> None:
    task = task_of(store, tmp_path)
    deadly = DeadlyTask(**{**vars(task), "sweep": changed(task.sweep, workers=2)})
    assert "a worker process died (exit code 9)" in launch_local.launch("", deadly)


@pytest.mark.slow  # imports TensorFlow in the worker
def test_reason_of_a_worker_that_ends_early_is_returned(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    base = ["data=mnist_sample", "data.mirrors=[/nowhere]"]
    task = task_of(store, tmp_path / "missing", base=base)
    one_worker = Task(**{**vars(task), "sweep": changed(task.sweep, workers=1)})
    reason = launch_local.launch("", one_worker)
    assert "no mirror has train-images" in reason
    assert "UserError" not in reason


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
        initial="",
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
