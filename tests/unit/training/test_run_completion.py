from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

from pipeline.artifacts.answers import answer
from pipeline.artifacts.keras_file import load_model, save_model
from pipeline.artifacts.uri import resolve_model
from pipeline.config.schema import Config
from pipeline.config.yaml_files import read_yaml
from pipeline.data.splits import load_split
from pipeline.models import mlp
from pipeline.system.errors import UserError
from pipeline.system.files import sha256, write_json
from pipeline.tracking.store import TrackingUnavailableError
from pipeline.tracking.tags import INIT_DIGEST, MODEL_DIGEST
from pipeline.tracking.training_run import training_run
from pipeline.training.history import COLUMNS, write_history
from pipeline.training.run_completion import log_evaluation
from tests.helpers import tiny
from tests.helpers.configs import MakeConfig

pytestmark = pytest.mark.slow

METRICS = {"test_accuracy": 0.75, "test_loss": 0.5}
VALIDATION = {"val_accuracy": 0.8, "val_loss": 0.4, "best_epoch": 2}
HISTORY = [{**dict.fromkeys(COLUMNS, 0.5), "epoch": epoch} for epoch in (1, 2)]


@pytest.fixture
def digits(tracked: Path, cfg: MakeConfig) -> Config:
    """A configuration that logs to the store of the test."""
    return cfg("tracking.experiment=digits", "data=mnist_sample", "model=softmax")


@pytest.fixture
def workspace(tmp_path: Path, digits: Config) -> Path:
    """What `train` and `evaluate` have written: the folders `models` and `reports`."""
    models, reports = tmp_path / "models", tmp_path / "reports"
    save_model(mlp(tiny.SHAPE, tiny.CLASSES, depth=0, width=0), models / "model.keras")
    write_history(HISTORY, models / "history.csv")
    write_json(models / "metrics.json", VALIDATION)
    write_json(reports / "metrics.json", METRICS)
    return tmp_path


def log(cfg: Config, prepared: Path, workspace: Path) -> tuple[str, str]:
    """Log the evaluation; return the two lines that say what happened."""
    models, reports = workspace / "models", workspace / "reports"
    run, champion = log_evaluation(cfg, prepared, models, [reports], METRICS, 1).split("\n")
    return run, champion


def only_run() -> Run:
    [run] = mlflow.search_runs(search_all_experiments=True, output_format="list")
    return run


def assert_complete(run: Run, workspace: Path) -> None:
    """The run has its epochs, its model, the results on all three splits, and the reports."""
    client = MlflowClient()
    assert run.info.status == "FINISHED"
    assert METRICS.items() <= run.data.metrics.items()
    assert run.data.metrics["validation_accuracy"] == 0.8
    history = client.get_metric_history(run.info.run_id, "val_loss")
    assert [metric.step for metric in history] == [1, 2]
    assert run.data.tags[MODEL_DIGEST] == sha256(workspace / "models/model.keras")
    assert run.inputs
    contexts = [tag.value for entry in run.inputs.dataset_inputs for tag in entry.tags]
    assert sorted(contexts) == ["testing", "training", "validation"]
    reports = client.list_artifacts(run.info.run_id, "reports")
    assert [artifact.path for artifact in reports] == ["reports/metrics.json"]


def test_results_are_added_to_the_run_that_made_the_model(
    digits: Config, prepared: Path, workspace: Path
) -> None:
    models = workspace / "models"
    with training_run(digits, prepared, 1, "fingerprint") as training:
        for row in HISTORY:
            training.log_epoch(int(row["epoch"]), row)
        training.log_model(load_model(models / "model.keras"), models, VALIDATION)
    line, champion = log(digits, prepared, workspace)
    run = only_run()
    assert run.info.run_id == training.run_id
    assert line == f"run {run.info.run_name} ({training.run_id})"
    assert champion.startswith("new champion: mnist-sample-classifier version 1")
    assert "restored" not in run.data.tags
    assert_complete(run, workspace)


def test_model_that_the_store_does_not_know_gets_a_run_from_its_files(
    digits: Config, prepared: Path, workspace: Path
) -> None:
    log(digits, prepared, workspace)
    run = only_run()
    assert "from its files" in run.data.tags["restored"]
    assert_complete(run, workspace)
    with resolve_model("models:/mnist-sample-classifier@champion") as path:
        assert sha256(path) == sha256(workspace / "models/model.keras")


def test_second_evaluation_changes_nothing(digits: Config, prepared: Path, workspace: Path) -> None:
    first = log(digits, prepared, workspace)
    second = log(digits, prepared, workspace)
    assert second[0] == first[0]
    assert second[1].startswith("champion stays")
    run = only_run()
    assert_complete(run, workspace)
    history = MlflowClient().get_metric_history(run.info.run_id, "test_accuracy")
    assert len(history) == 1


def test_better_model_is_the_new_champion(digits: Config, prepared: Path, workspace: Path) -> None:
    """Both models answer the same validation images."""
    path = workspace / "models/model.keras"
    validation = load_split(prepared, "validation")
    model = load_model(path)
    model.set_weights([0 * weights for weights in model.get_weights()])  # answers 0 to all
    save_model(model, path)
    log(digits, prepared, workspace)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(np.array(validation.images), np.array(validation.labels), epochs=60, verbose=0)
    save_model(model, path)
    right = int((answer(model, validation.images, "") == validation.labels).sum())
    zeros = int((validation.labels == 0).sum())
    line = log(digits, prepared, workspace)[1]
    assert "new champion: mnist-sample-classifier version 2, it beats version 1: accuracy " in line
    assert f"accuracy {right / 30:.4f} against {zeros / 30:.4f} on 30 validation images" in line


def test_champion_that_takes_other_images_stays(
    digits: Config, prepared: Path, workspace: Path
) -> None:
    log(digits, prepared, workspace)
    [champion] = (workspace / "mlruns").rglob("model.keras")
    save_model(mlp((28, 28), tiny.CLASSES, depth=0, width=0), champion)
    save_model(mlp(tiny.SHAPE, tiny.CLASSES, depth=1, width=4), workspace / "models/model.keras")
    line = log(digits, prepared, workspace)[1]
    height, width = tiny.SHAPE
    assert line.startswith(
        "champion stays mnist-sample-classifier version 1: it cannot be compared"
    )
    assert f" takes images of 28×28 pixels, not of {height}×{width}" in line


def test_registry_that_refuses_fails_no_evaluation(
    digits: Config, prepared: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise MlflowException("you may not do this", PERMISSION_DENIED)

    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", refuse)
    line = log(digits, prepared, workspace)[1]
    assert line.startswith("the champion was not updated: MLflow store ")
    assert line.endswith("you may not do this")
    assert_complete(only_run(), workspace)


def test_missing_model_is_one_line_and_logs_nothing(
    digits: Config, prepared: Path, workspace: Path
) -> None:
    (workspace / "models/model.keras").unlink()
    with pytest.raises(UserError, match=r"model\.keras"):
        log(digits, prepared, workspace)
    assert mlflow.search_runs(search_all_experiments=True, output_format="list") == []


def test_store_that_does_not_answer_is_an_error(
    digits: Config, prepared: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    with pytest.raises(TrackingUnavailableError, match=r"127\.0\.0\.1:9"):
        log(digits, prepared, workspace)


def test_run_has_the_configuration_of_its_last_evaluation(
    digits: Config, cfg: MakeConfig, prepared: Path, workspace: Path
) -> None:
    """Its reports come from there, and `make reproduce` makes them again."""
    log(digits, prepared, workspace)
    settings = ("tracking.experiment=digits", "data=mnist_sample", "model=softmax")
    log(cfg(*settings, "evaluate.worst_mistakes=9"), prepared, workspace)
    run_id = only_run().info.run_id
    recorded = MlflowClient().download_artifacts(run_id, "composed.yaml", str(workspace))
    assert read_yaml(Path(recorded), "")["evaluate"]["worst_mistakes"] == 9


def test_run_is_restored_without_the_model_that_the_training_started_from(
    cfg: MakeConfig, prepared: Path, workspace: Path
) -> None:
    """A clone does not have it."""
    settings = ("tracking.experiment=digits", "data=mnist_sample", "model=softmax")
    started = cfg(*settings, "train.init_from=gone.keras")
    log(started.model_copy(update={"initial_model": "0" * 64}), prepared, workspace)
    run = only_run()
    assert_complete(run, workspace)
    assert run.data.tags[INIT_DIGEST] == "0" * 64


def test_results_that_are_logged_later_keep_the_configuration(
    digits: Config, cfg: MakeConfig, prepared: Path, workspace: Path
) -> None:
    """`make track` does not know the commit and the changes of the evaluation."""
    log(digits, prepared, workspace)
    models, folders = workspace / "models", [workspace / "reports"]
    settings = ("tracking.experiment=digits", "data=mnist_sample", "model=softmax")
    other = cfg(*settings, "evaluate.worst_mistakes=9")
    log_evaluation(other, prepared, models, folders, METRICS, 1, is_new=False)
    run_id = only_run().info.run_id
    recorded = MlflowClient().download_artifacts(run_id, "composed.yaml", str(workspace))
    assert read_yaml(Path(recorded), "")["evaluate"]["worst_mistakes"] == 25
