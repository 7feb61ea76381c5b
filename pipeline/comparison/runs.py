"""Results of MLflow runs: trainings and trials of sweeps."""

from dataclasses import replace
from pathlib import Path

import mlflow
from mlflow.entities import Run

from pipeline.comparison.result import Result, as_settings
from pipeline.system.files import sha256
from pipeline.tracking.lookup import runs_named, runs_of_file
from pipeline.tracking.run import EVALUATED, TRAINED
from pipeline.tracking.store import mlflow_errors
from pipeline.tracking.tags import DATA_DIGEST, MODEL_ID
from pipeline.training.history import COLUMNS, VALIDATION_METRICS, Row


def find_runs(name: str) -> list[Result]:
    """The results of the runs that a name stands for, the newest first. They may be none.

    Args:
        name: as for `runs_named`, or the path of a .keras file.

    Raises:
        UserError: when the store does not answer.
    """
    if name.endswith(".keras") and Path(name).is_file():
        return [_result_of_file(name)]
    found = runs_named(name)
    if len(found) == 1:
        return [_result(found[0], name)]
    return [_result(run, f"{name} {run.info.run_id[:8]}") for run in found]


def _result_of_file(path: str) -> Result:
    """The result of the newest run that produced a model file; without numbers if there is none."""
    runs = runs_of_file(sha256(Path(path)))
    found = _result(runs[0], path) if runs else Result(path, state="no run")
    return replace(found, model=path)


def _result(run: Run, name: str) -> Result:
    client = mlflow.MlflowClient()
    rows: dict[int, Row] = {}
    with mlflow_errors():
        for column in COLUMNS[1:]:  # the epoch is the step
            for metric in client.get_metric_history(run.info.run_id, column):
                rows.setdefault(metric.step, {"epoch": metric.step})[column] = metric.value
    history = [row for _, row in sorted(rows.items()) if row.keys() >= {*VALIDATION_METRICS}]
    test = {key: value for key, value in run.data.metrics.items() if key.startswith("test_")}
    complete = run.info.status == EVALUATED
    status = "not evaluated" if run.info.status == TRAINED else run.info.status.lower()
    return Result(
        name,
        as_settings(run.data.params),
        history,
        test,
        state=status if not complete else "" if history else "no results",
        model=f"runs:/{run.info.run_id}/model" if MODEL_ID in run.data.tags else "",
        data=run.data.tags.get(DATA_DIGEST, ""),
    )
