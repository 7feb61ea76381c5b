"""`make gc` during a training, after its kill, and after its run was deleted in MLflow."""

import os
import signal

import pytest

from tests.helpers.project import Project

pytestmark = pytest.mark.slow

EXPERIMENT = ["dvc", "exp", "run", "--temp", "-S", "model=mlp"]
GC = ["python", "-m", "pipeline.gc"]
LOAD_CHAMPION = """
import mlflow, pathlib
path = mlflow.artifacts.download_artifacts("models:/mnist-sample-classifier@champion")
print((pathlib.Path(path) / "data/model.keras").is_file())
"""
DELETE_KILLED = """
import mlflow
runs = mlflow.search_runs(search_all_experiments=True, output_format="list")
for run in runs:
    if run.info.status != "FINISHED":
        mlflow.MlflowClient().delete_run(run.info.run_id)
print(len(runs))
"""


@pytest.mark.long
def test_nothing_in_use_is_removed(edited: Project) -> None:
    edited.run(*GC)
    process = edited.start(*EXPERIMENT)
    assert process.stdout
    line = ""
    for line in process.stdout:
        if "epoch 1" in line:
            break
    assert "epoch 1" in line
    os.killpg(process.pid, signal.SIGSTOP)  # so that it cannot end before the command looks
    beside = edited.run(*GC)
    assert "left alone: checkpoints, data of sweeps and temporary files, while these run" in beside
    assert "nothing to remove" in beside
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()

    # The training can be resumed, and only the copy of the workspace is of no use.
    killed = edited.run(*GC)
    assert ".dvc/tmp/exps/standalone/tmp" in killed
    assert "in all: 1, " in killed
    assert len(list((edited.folder / ".checkpoints").iterdir())) == 1

    assert edited.python(DELETE_KILLED) == "2"
    deleted = edited.run(*GC)
    assert "runs deleted in MLflow: 1, " in deleted
    assert "checkpoints that no training resumes: 1, " in deleted
    assert list((edited.folder / ".checkpoints").iterdir()) == []
    assert "nothing to remove" in edited.run(*GC)
    assert edited.python(LOAD_CHAMPION) == "True"
    assert edited.run("dvc", "status") == "compose:\n\talways changed\n"
