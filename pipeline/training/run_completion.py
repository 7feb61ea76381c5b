"""Add the test results to the MLflow run of a trained model."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import mlflow
from mlflow.entities import Run

from pipeline.artifacts.answers import Answers, answer, answers_of
from pipeline.artifacts.keras_file import load_model
from pipeline.config.paths import COMPOSED
from pipeline.config.schema import Config
from pipeline.config.yaml_files import dump_config
from pipeline.data.splits import Split, load_split
from pipeline.evaluation.paired import Paired, compare_answers
from pipeline.system.errors import UserError
from pipeline.system.files import sha256
from pipeline.tracking.changes import log_changes
from pipeline.tracking.description import write_description
from pipeline.tracking.environment import commit_tags
from pipeline.tracking.inputs import log_input, mlflow_dataset
from pipeline.tracking.lookup import find_run
from pipeline.tracking.registry import update_champion
from pipeline.tracking.run import EVALUATED
from pipeline.tracking.store import (
    TrackingUnavailableError,
    connect,
    mlflow_errors,
    set_tags,
    store_lock,
)
from pipeline.tracking.tags import MODEL_ID
from pipeline.tracking.training_run import training_run
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.history import VALIDATION_METRICS, read_history, read_metrics


def log_evaluation(
    cfg: Config,
    prepared: Path,
    models: Path,
    folders: Sequence[Path],
    metrics: dict[str, float],
    threads: int,
    is_new: bool = True,
) -> str:
    """Add the test results to the run that trained a model, and update the champion.

    If the store has no complete run of the model, one is written from the model's files. This
    happens when DVC restored the files from its cache, or the store did not answer during training.

    Args:
        cfg: the configuration.
        prepared: folder of the prepared data.
        models: folder of the model, its history and its validation metrics.
        folders: what `evaluate` has written, which becomes artifacts of the run.
        metrics: the test metrics, by the names to log.
        threads: number of TensorFlow threads.
        is_new: whether the evaluation ends now. Then the run gets its configuration, commit and
            changes, which may be others than those of the training.

    Returns:
        Two lines: the name and id of the run, and which model is the champion.

    Raises:
        TrackingUnavailableError: when the store does not answer.
        UserError: when there is no model.
    """
    path = models / "model.keras"
    if not path.is_file():
        raise UserError(f"there is no model file {path}: run `dvc repro` first")
    digest = sha256(path)
    connect(cfg.tracking.experiment)
    # Two evaluations of one model must not write its run twice.
    with mlflow_errors(), store_lock():
        run = find_run(cfg.tracking.experiment, digest)
        if run is None:
            run = _restore_run(cfg, prepared, models, threads)
        run_id, model_id = run.info.run_id, run.data.tags[MODEL_ID]
        changed = {k: v for k, v in metrics.items() if run.data.metrics.get(k) != v}
        if changed:
            test = mlflow_dataset(cfg, prepared, "test")
            log_input(run_id, test, "testing")
            mlflow.log_metrics(changed, dataset=test, model_id=model_id, run_id=run_id)
            write_description(run_id)
        client = mlflow.MlflowClient()
        for folder in folders:
            client.log_artifacts(run_id, str(folder), folder.name)
        if is_new:
            client.log_text(run_id, dump_config(cfg), COMPOSED)
            log_changes(run_id)
            set_tags(run_id, commit_tags())
        if run.info.status != EVALUATED:
            client.update_run(run_id, EVALUATED)
        run = client.get_run(run_id)  # with what was logged just now
    line = _champion_line(cfg, prepared, path, run)
    return f"run {run.info.run_name} ({run_id})\n{line}"


def _champion_line(cfg: Config, prepared: Path, path: Path, run: Run) -> str:
    """Update the champion. What the registry refuses is only said: it fails no evaluation."""
    validation = load_split(prepared, "validation")
    try:
        answers = answer(load_model(path), validation.images, str(path))
        judge = partial(_compare, answers, validation)
        return update_champion(cfg, run, run.data.tags[MODEL_ID], judge)
    except TrackingUnavailableError:
        raise
    except UserError as error:
        return f"the champion was not updated: {error}"


def _compare(answers: Answers, validation: Split, uri: str) -> Paired:
    """Compare answers to the validation images with those of the model of a URI."""
    others = answers_of(uri, validation.images)
    return compare_answers(answers, others, validation.labels)


def _restore_run(cfg: Config, prepared: Path, models: Path, threads: int) -> Run:
    """Write the run of a model whose training is not recorded in this store."""
    metrics = read_metrics(models / "metrics.json", VALIDATION_METRICS)
    history = read_history(models / "history.csv")
    checkpoints = Checkpoints.of(cfg, prepared)
    resumable = checkpoints.folder.is_dir()
    with training_run(cfg, prepared, threads, checkpoints.id, resumable) as training:
        training.log_history(history)
        training.log_model(load_model(models / "model.keras"), models, metrics)
    if training.error:
        raise training.error
    set_tags(training.run_id, {"restored": "written after the training, from its files"})
    return mlflow.MlflowClient().get_run(training.run_id)
