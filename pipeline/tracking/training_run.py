"""The MLflow run of the train stage. `evaluate` adds the test results to it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import keras
import mlflow
from mlflow.entities import Run, RunTag
from mlflow.exceptions import MlflowException
from PIL import Image

from pipeline.config.paths import COMPOSED
from pipeline.config.schema import Config
from pipeline.config.yaml_files import dump_config
from pipeline.data.splits import data_digest, load_stats
from pipeline.evaluation.network import describe_network
from pipeline.system import cli
from pipeline.system.determinism import gpus
from pipeline.system.errors import describe_error
from pipeline.system.files import sha256
from pipeline.tracking.changes import log_changes
from pipeline.tracking.description import write_description
from pipeline.tracking.environment import environment_tags
from pipeline.tracking.inputs import log_training_inputs, mlflow_dataset
from pipeline.tracking.liveness import (
    SystemMetrics,
    close_dead_runs,
    signs_of_life,
    wait_until_known,
)
from pipeline.tracking.lookup import find_run
from pipeline.tracking.models import log_model_file
from pipeline.tracking.names import (
    configuration_name,
    describe_values,
    run_name,
    run_params,
)
from pipeline.tracking.run import EVALUATED, TRAINED, TrackedRun
from pipeline.tracking.store import TrackingUnavailableError, connect, set_tags
from pipeline.tracking.tags import (
    CHANGES,
    CONFIGURATION,
    DATA_DIGEST,
    FAILURE,
    IMAGES,
    INIT_DIGEST,
    MODEL_DIGEST,
    MODEL_ID,
    NETWORK,
    PARENT_RUN,
    TRAINING_ID,
)


class TrainingRun(TrackedRun):
    """The run of one training; `training_run` opens and closes it."""

    _system: SystemMetrics | None = None

    def open(self, training_id: str, resumable: bool) -> None:
        """Find or create the run, and log what is known before the training starts."""
        connect(self.cfg.tracking.experiment)
        wait_until_known(training_id, cli.check_signals)
        close_dead_runs()
        run = _open_run(self.cfg, training_id, resumable)
        self.resume(run.info.run_id)
        self.beat()
        self._system = SystemMetrics(self.run_id)
        client = mlflow.MlflowClient()
        if FAILURE in run.data.tags:
            client.delete_tag(self.run_id, FAILURE)
        tags = {DATA_DIGEST: data_digest(self.prepared), **environment_tags(self.threads)}
        images = load_stats(self.prepared)["images"]
        tags[IMAGES] = (
            f"{images['train']:,} training and {images['validation']:,} validation images"
        )
        tags[CONFIGURATION] = configuration_name(self.cfg)
        if self.cfg.changes:
            tags[CHANGES] = describe_values(self.cfg.changes)
        if experiment := os.environ.get("DVC_EXP_NAME"):
            tags["dvc.experiment"] = experiment
        if names := gpus():
            tags["gpus"] = ", ".join(names)
        if digest := self.cfg.initial_model:
            tags[INIT_DIGEST] = digest
            if parent := find_run(self.cfg.tracking.experiment, digest):
                tags[PARENT_RUN] = parent.info.run_id
        # MLflow's parameters are immutable: skip those that a resumed run has already.
        params = [param for param in run_params(self.cfg) if param.key not in run.data.params]
        run_tags = [RunTag(key, value) for key, value in tags.items()]
        client.log_batch(self.run_id, params=params, tags=run_tags)
        client.log_text(self.run_id, dump_config(self.cfg), COMPOSED)
        log_changes(self.run_id)
        log_training_inputs(self.run_id, self.cfg, self.prepared)
        write_description(self.run_id)

    def close(self, status: str, failure: str = "") -> None:
        """End the run, and describe what it has become; see `TrackedRun.close`."""
        if self._system:
            self._system.stop()
        super().close(status, failure)
        if self.run_id:
            write_description(self.run_id)

    def log_mistakes(self, epoch: int, picture: Image.Image) -> None:
        """Log a picture of what is misread after an epoch; MLflow shows them in a row."""
        self.attempt(
            lambda: mlflow.MlflowClient().log_image(
                self.run_id, picture, key="mistakes", step=epoch
            )
        )

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
        sizes = {"parameters": model.count_params(), "model_bytes": path.stat().st_size}
        speeds = client.get_metric_history(self.run_id, "images_per_second")
        epochs = client.get_metric_history(self.run_id, "val_loss")
        # The speeds of epochs that were logged later, from files, are not known.
        if {metric.step for metric in speeds} == {metric.step for metric in epochs}:
            images = load_stats(self.prepared)["images"]["train"]
            sizes["fit_seconds"] = sum(images / metric.value for metric in speeds)
        mlflow.log_metrics({**sizes, "best_epoch": metrics["best_epoch"]}, run_id=self.run_id)
        set_tags(self.run_id, {NETWORK: describe_network(model)})
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
) -> Iterator[TrainingRun]:
    """Open the run of a training, and close it at the end of the block.

    The run ends as SCHEDULED, because it is still to be evaluated, as KILLED if the block is
    interrupted, or as FAILED if it raises.
    Signals are held while the block runs, so the block must call `cli.check_signals` regularly.

    Args:
        cfg: the configuration of the training. The run that produced its initial model becomes the
            parent.
        prepared: folder of the prepared data.
        threads: number of TensorFlow threads.
        training_id: the id of the training. If it was interrupted, its run is resumed.
        resumable: whether the training still has checkpoints. If so, its run is resumed even if it
            is complete, because DVC has not recorded the outputs yet.
    """
    run = TrainingRun(cfg, prepared, threads)
    with cli.signals_held():
        try:
            run.attempt(lambda: run.open(training_id, resumable), survives=TrackingUnavailableError)
            cli.check_signals()
            yield run
        except (KeyboardInterrupt, SystemExit):
            run.attempt(lambda: run.close("KILLED"))
            raise
        except BaseException as error:
            failure = describe_error(error)
            run.attempt(lambda: run.close("FAILED", failure))
            raise
        run.attempt(lambda: run.close(TRAINED))


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
    begun.sort(key=lambda run: run.info.status in (TRAINED, EVALUATED))
    if begun and (begun[0].info.status not in (TRAINED, EVALUATED) or resumable):
        run_id = begun[0].info.run_id
        set_tags(run_id, signs_of_life())
        client.update_run(run_id, "RUNNING")
        return client.get_run(run_id)
    experiment = mlflow.get_experiment_by_name(cfg.tracking.experiment)
    assert experiment is not None
    return client.create_run(
        experiment.experiment_id,
        run_name=run_name(cfg),
        tags={TRAINING_ID: training_id, **signs_of_life()},
    )
