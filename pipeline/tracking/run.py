"""An MLflow run that tolerates a failing store."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import mlflow
from mlflow.entities import Metric

from pipeline.config.schema import Config
from pipeline.system.colour import print_warning
from pipeline.system.errors import UserError
from pipeline.tracking.liveness import Heartbeat
from pipeline.tracking.store import CATCH_UP, mlflow_errors, set_tags
from pipeline.tracking.tags import FAILURE

_BATCH = 1000  # metrics that MLflow takes at once
# MLflow's statuses of a run that is trained, without and with test results.
TRAINED, EVALUATED = "SCHEDULED", "FINISHED"


class TrackedRun:
    """The MLflow run of one training.

    A failing store never stops a training. After a failure, nothing more is logged and `error` says
    why. What is missing can be logged later.
    """

    def __init__(self, cfg: Config, prepared: Path, threads: int) -> None:
        """Store the settings of the run; a subclass opens it.

        Args:
            cfg: the configuration of the training.
            prepared: folder of the prepared data.
            threads: number of TensorFlow threads.
        """
        self.cfg = cfg
        self.prepared = prepared
        self.threads = threads
        self.run_id = ""
        self.error: UserError | None = None  # why logging stopped
        self._logged: set[int] = set()  # epochs; MLflow shows a step twice if it is logged twice
        self._heartbeat: Heartbeat | None = None

    def log_epoch(self, epoch: int, row: dict[str, float]) -> None:
        """Log an epoch's metrics, unless the run has them. The step is the epoch, from 1."""
        self.log_history([{**row, "epoch": epoch}])

    def has_epoch(self, epoch: int) -> bool:
        """Whether the run has the metrics of an epoch."""
        return epoch in self._logged

    def log_history(self, rows: Sequence[dict[str, float]]) -> None:
        """Log the metrics of several epochs at once, except those that the run has."""
        self.attempt(lambda: self._log_history(rows))

    def close(self, status: str, failure: str = "") -> None:
        """End the run as TRAINED, EVALUATED, FAILED (with the reason as a tag) or KILLED."""
        if not self.run_id:
            return  # interrupted before the run was created
        if self._heartbeat:
            self._heartbeat.stop()
        if failure:
            set_tags(self.run_id, {FAILURE: failure[:5000]})
        mlflow.MlflowClient().set_terminated(self.run_id, status)

    def beat(self) -> None:
        """Start the heartbeat, which ends when the run is closed."""
        self._heartbeat = Heartbeat(self.run_id)

    def attempt(self, action: Callable[[], None], survives: type[UserError] = UserError) -> None:
        """Call `action`, which uses the store, unless the store has failed before.

        Args:
            action: what to do.
            survives: the errors that only cause a warning; others are raised.
        """
        if self.error:
            return
        try:
            with mlflow_errors():
                action()
        except survives as error:
            self.error = error
            print_warning(f"tracking is incomplete: {error}\n{CATCH_UP}")

    def resume(self, run_id: str) -> None:
        """Resume an existing run, and find out which epochs it has."""
        self.run_id = run_id
        history = mlflow.MlflowClient().get_metric_history(run_id, "val_loss")
        self._logged = {metric.step for metric in history}

    def _log_history(self, rows: Sequence[dict[str, float]]) -> None:
        metrics = epoch_metrics([row for row in rows if row["epoch"] not in self._logged])
        client = mlflow.MlflowClient()
        for start in range(0, len(metrics), _BATCH):
            client.log_batch(self.run_id, metrics=metrics[start : start + _BATCH])
        self._logged |= {int(row["epoch"]) for row in rows}


def epoch_metrics(rows: Sequence[dict[str, float]]) -> list[Metric]:
    """The metrics of epochs; the step is the epoch, from 1."""
    now = int(time.time() * 1000)
    return [
        Metric(key, value, now, int(row["epoch"]))
        for row in rows
        for key, value in row.items()
        if key != "epoch"
    ]
