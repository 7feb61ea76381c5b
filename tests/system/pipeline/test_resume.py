"""Training that is stopped, fails, or continues from another model, with the real tools."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.project import Project

pytestmark = pytest.mark.slow


def test_killed_pipeline_ends_in_the_same_bytes_and_one_run(
    sample: Project, tmp_path: Path
) -> None:
    killed = Project.copy(tmp_path / "killed", sample.read("params.yaml"))
    for marker in ("Running stage 'train'", "epoch 2/", "validation accuracy"):
        killed.kill_when(marker)
    killed.repro()
    assert killed.read("dvc.lock") == sample.read("dvc.lock")
    rows = json.loads(
        killed.python(
            "import json, mlflow; c = mlflow.MlflowClient();"
            "runs = mlflow.search_runs(search_all_experiments=True, output_format='list');"
            "print(json.dumps([[r.info.status, [m.step for m in"
            " c.get_metric_history(r.info.run_id, 'val_loss')]] for r in runs]))"
        )
    )
    assert rows == [["FINISHED", [1, 2, 3]]]
    assert not list((killed.folder / ".checkpoints").iterdir())


@pytest.mark.parametrize(
    ("number", "status"),
    [
        pytest.param(signal.SIGTERM, 143, id="SIGTERM", marks=pytest.mark.long),
        pytest.param(signal.SIGINT, 130, id="Ctrl-C"),
    ],
)
def test_training_that_is_stopped_is_marked_and_resumed(
    edited: Project, number: signal.Signals, status: int
) -> None:
    edited.write("params.yaml", f"data: mnist_sample\nset: {{train: {{seed: {status}}}}}\n")
    edited.run("dvc", "repro", "prepare")
    train = ["python", "-m", "pipeline.train"]
    assert edited.stop_when("epoch 2/", train, number) == status
    assert _newest(edited)[0] == "KILLED"
    # A setting that changes no result may differ when the training is resumed.
    params = f"data: mnist_sample\nset: {{train.seed: {status}, tracking.run_name: again}}\n"
    edited.write("params.yaml", params)
    edited.run("dvc", "repro", "compose")
    assert "resumed after epoch" in edited.run(*train)
    assert _newest(edited) == ["SCHEDULED", 3, None], "it is not evaluated yet"


def test_training_that_fails_gives_the_reason_in_one_line_and_in_its_run(edited: Project) -> None:
    edited.write("params.yaml", "data: mnist_sample\nset: {optimizer: {learning_rate: 3.0e+38}}\n")
    edited.run("dvc", "repro", "prepare")
    output = edited.run("python", "-m", "pipeline.train", status=1)
    assert "error: the loss is" in output
    assert "Traceback" not in output
    status, epochs, failure = _newest(edited)
    assert (status, epochs) == ("FAILED", 0)
    assert failure.startswith("the loss is")


def _newest(project: Project) -> list[Any]:
    """The newest run's status, its number of logged epochs, and why it failed."""
    return json.loads(
        project.python(
            "import json, mlflow;"
            "run, = mlflow.search_runs(search_all_experiments=True, output_format='list',"
            " order_by=['attributes.start_time DESC'], max_results=1);"
            "steps = mlflow.MlflowClient().get_metric_history(run.info.run_id, 'val_loss');"
            "print(json.dumps([run.info.status, len(steps), run.data.tags.get('failure')]))"
        )
    )


@pytest.mark.long
def test_training_continues_from_an_earlier_model(edited: Project) -> None:
    first = edited.python(RUN_OF_MODEL)
    edited.write(
        "params.yaml",
        "data: mnist_sample\nschedule: constant\n"
        "set:\n  train: {init_from: models/model.keras, epochs: 3}\n"
        "  optimizer: {learning_rate: 1e-4}\n",
    )
    # DVC removes the model before training. dvc.lock still has its digest, even after a kill.
    edited.kill_when("epoch 1/")
    edited.repro()
    assert edited.python(PARENT_OF_MODEL) == first
    history = [line.split(",") for line in edited.read("models/history.csv").splitlines()[1:]]
    assert len(history) == 3
    assert float(history[0][4]) > 0.9, "it starts with the weights of the first training"
    for uri in (f"runs:/{first}/model", "git:HEAD"):
        edited.write(
            "params.yaml",
            f"data: mnist_sample\nset: {{train: {{epochs: 1, init_from: '{uri}'}}}}\n",
        )
        assert "train" in edited.repro("train")
        assert edited.python(PARENT_OF_MODEL) == first


RUN_OF_MODEL = """
import hashlib, mlflow
digest = hashlib.sha256(open("models/model.keras", "rb").read()).hexdigest()
run, = mlflow.search_runs(search_all_experiments=True, output_format="list", max_results=1,
    filter_string=f"tags.`model.sha256` = '{digest}'")
print(run.info.run_id)
"""
PARENT_OF_MODEL = RUN_OF_MODEL + "print(run.data.tags['mlflow.parentRunId'])"
