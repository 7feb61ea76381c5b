"""Results of MLflow runs: trainings and trials of sweeps."""

import mlflow
from mlflow.entities import Run

from pipeline.comparison.result import VALIDATION, Result, as_settings
from pipeline.tracking.store import has_store, mlflow_errors, use_store
from pipeline.training.history import COLUMNS, Row

_NAMED = 100  # run names to suggest from


def find_runs(name: str) -> list[Result]:
    """The results of the runs with a name or an id, the newest first. They may be none.

    Raises:
        UserError: when the store does not answer.
    """
    quote = '"' if "'" in name else "'"
    found: list[Run] = []
    for attribute in ("run_id", "run_name"):
        found = found or _search(f"attributes.{attribute} = {quote}{name}{quote}")
    if len(found) == 1:
        return [_result(found[0], name)]
    return [_result(run, f"{name} {run.info.run_id[:8]}") for run in found]


def run_names() -> list[str]:
    """The names of the newest runs."""
    return [str(run.info.run_name) for run in _search("")]


def _search(condition: str) -> list[Run]:
    use_store()
    if not has_store():
        return []
    with mlflow_errors():
        return mlflow.search_runs(
            search_all_experiments=True,
            filter_string=condition,
            max_results=_NAMED,
            output_format="list",
        )


def _result(run: Run, name: str) -> Result:
    client = mlflow.MlflowClient()
    rows: dict[int, Row] = {}
    with mlflow_errors():
        for column in COLUMNS:
            for metric in client.get_metric_history(run.info.run_id, column):
                rows.setdefault(metric.step, {"epoch": metric.step})[column] = metric.value
    history = [row for _, row in sorted(rows.items()) if row.keys() >= VALIDATION]
    test = {key: value for key, value in run.data.metrics.items() if key.startswith("test_")}
    status = run.info.status.lower()
    state = status if status != "finished" else "" if history else "no results"
    return Result(name, as_settings(run.data.params), history, test, state)
