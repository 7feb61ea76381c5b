"""The MLflow run of the train stage. `evaluate` adds the test results to it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import keras
import mlflow
from mlflow.entities import Run, RunTag
from mlflow.exceptions import MlflowException

from pipeline.config.schema import Config
from pipeline.config.yaml_files import dump_config
from pipeline.data.splits import data_digest
from pipeline.system import cli, process
from pipeline.system.determinism import gpus
from pipeline.system.files import sha256
from pipeline.system.redaction import redact
from pipeline.tracking.changes import log_changes
from pipeline.tracking.environment import environment_tags
from pipeline.tracking.inputs import log_training_inputs, mlflow_dataset
from pipeline.tracking.liveness import close_dead_runs, wait_until_known
from pipeline.tracking.models import log_model_file
from pipeline.tracking.run import CONFIGURATION, FAILURE_TAG, TrackedRun, find_run, run_params
from pipeline.tracking.store import TrackingUnavailableError, connect, set_tags
from pipeline.tracking.tags import (
    DATA_DIGEST,
    INIT_DIGEST,
    MODEL_DIGEST,
    MODEL_ID,
    PARENT_RUN,
    TRAINING_ID,
)


class TrainingRun(TrackedRun):
    """The run of one training; `training_run` opens and closes it."""

    def open(self, training_id: str, resumable: bool, init: Path | None) -> None:
        """Find or create the run, and log what is known before the training starts."""
        connect(self.cfg.tracking.experiment)
        wait_until_known(training_id, cli.check_signals)
        close_dead_runs()
        run = _open_run(self.cfg, training_id, resumable)
        self.resume(run.info.run_id)
        self.beat()
        client = mlflow.MlflowClient()
        if FAILURE_TAG in run.data.tags:
            client.delete_tag(self.run_id, FAILURE_TAG)
        tags = {**process.identity(), DATA_DIGEST: data_digest(self.prepared)}
        tags |= environment_tags(self.threads)
        if names := gpus():
            tags["gpus"] = ", ".join(names)
        if init:
            tags[INIT_DIGEST] = sha256(init)
            if parent := find_run(self.cfg.tracking.experiment, sha256(init)):
                tags[PARENT_RUN] = parent.info.run_id
        # MLflow's parameters are immutable: skip those that a resumed run has already.
        params = [param for param in run_params(self.cfg) if param.key not in run.data.params]
        run_tags = [RunTag(key, value) for key, value in tags.items()]
        client.log_batch(self.run_id, params=params, tags=run_tags)
        client.log_text(self.run_id, dump_config(self.cfg), CONFIGURATION)
        log_changes(self.run_id)
        log_training_inputs(self.run_id, self.cfg, self.prepared)

    def log_model(self, model: keras.Model, models: Path, metrics: dict[str, float]) -> None:
        """Log models/model.keras, which holds `model`, and its `val_loss` and `val_accuracy`."""
        self.attempt(lambda: self._log_model(model, models, metrics))

    def _log_model(self, model: keras.Model, models: Path, metrics: dict[str, float]) -> None:
        client = mlflow.MlflowClient()
        path = models / "model.keras"
        run = client.get_run(self.run_id)
        if run.data.tags.get(MODEL_DIGEST) == sha256(path):
            return  # the training was killed after it had logged everything
        for unfinished in run.outputs.model_outputs if run.outputs else []:
            with suppress(MlflowException):  # it is deleted already
                client.delete_logged_model(unfinished.model_id)  # killed while writing it
        model_id = log_model_file(run, model, path, self.prepared)
        mlflow.log_metrics(
            # Other names, because val_loss and val_accuracy have a value for each epoch.
            {f"validation_{name}": metrics[f"val_{name}"] for name in ("loss", "accuracy")},
            dataset=mlflow_dataset(self.cfg, self.prepared, "validation"),
            model_id=model_id,
            run_id=self.run_id,
        )
        client.log_artifact(self.run_id, str(models / "history.csv"))
        # Set these tags last: a run that has them is complete.
        set_tags(self.run_id, {MODEL_DIGEST: sha256(path), MODEL_ID: model_id})


@contextmanager
def training_run(
    cfg: Config,
    prepared: Path,
    threads: int,
    training_id: str,
    resumable: bool = False,
    init: Path | None = None,
) -> Iterator[TrainingRun]:
    """Open the run of a training, and close it at the end of the block.

    The run ends as FINISHED, as KILLED if the block is interrupted, or as FAILED if it raises.
    Signals are held while the block runs, so the block must call `cli.check_signals` regularly.

    Args:
        cfg: the configuration of the training.
        prepared: folder of the prepared data.
        threads: number of TensorFlow threads.
        training_id: the id of the training. If it was interrupted, its run is resumed.
        resumable: whether the training still has checkpoints. If so, its run is resumed even if it
            is finished, because DVC has not recorded the outputs yet.
        init: the model file that the training starts from. The run that produced it becomes the
            parent.
    """
    run = TrainingRun(cfg, prepared, threads)
    with cli.signals_held():
        try:
            run.attempt(
                lambda: run.open(training_id, resumable, init), survives=TrackingUnavailableError
            )
            cli.check_signals()
            yield run
        except (KeyboardInterrupt, SystemExit):
            run.attempt(lambda: run.close("KILLED"))
            raise
        except BaseException as error:
            failure = redact(f"{type(error).__name__}: {error}")
            run.attempt(lambda: run.close("FAILED", failure))
            raise
        run.attempt(lambda: run.close("FINISHED"))


def _open_run(cfg: Config, training_id: str, resumable: bool) -> Run:
    """Resume an earlier run of the same training, or create a run.

    A run that is RUNNING belongs to a live process, and is not resumed.
    """
    client = mlflow.MlflowClient()
    begun = mlflow.search_runs(
        filter_string=f"tags.`{TRAINING_ID}` = '{training_id}' and attributes.status != 'RUNNING'",
        order_by=["attributes.start_time DESC"],
        output_format="list",
    )
    # Put unfinished runs first, whatever their start time: the clock may have been set back. The
    # sort is stable, so the newest unfinished run is the first.
    begun.sort(key=lambda run: run.info.status == "FINISHED")
    if begun and (begun[0].info.status != "FINISHED" or resumable):
        client.update_run(begun[0].info.run_id, "RUNNING")
        return client.get_run(begun[0].info.run_id)
    experiment = mlflow.get_experiment_by_name(cfg.tracking.experiment)
    assert experiment is not None
    return client.create_run(
        experiment.experiment_id,
        run_name=cfg.tracking.run_name,
        tags={TRAINING_ID: training_id, **process.identity()},
    )
