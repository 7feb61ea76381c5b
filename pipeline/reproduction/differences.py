"""Compare what a training gave when it was run again with what its run has recorded."""

from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.config.paths import DEFAULT_MODEL
from pipeline.forms.predictor import EXPORTS
from pipeline.reproduction.recorded import Recorded
from pipeline.system.files import sha256
from pipeline.training.history import COLUMNS

_ENVIRONMENT = ("cpu", "gpus", "threads", "version.")


def run_in(folder: Path) -> tuple[MlflowClient, Run]:
    """The run that the stages have made in a folder, and the client of its store."""
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    [run] = client.search_runs(experiments)
    return client, run


def compare_files(recorded: Recorded, folder: Path) -> dict[str, bool]:
    """Whether each file has the same bytes as in the run.

    Args:
        recorded: the run.
        folder: where the stages have run.

    Returns:
        The names of the files in the folder.
    """
    same = {DEFAULT_MODEL: recorded.model_digest == _digest(folder / DEFAULT_MODEL)}
    history = recorded.files / "history.csv"
    if history.is_file():
        same["models/history.csv"] = _digest(history) == _digest(folder / "models/history.csv")
    logged = [path for kind in ("reports", EXPORTS) for path in (recorded.files / kind).rglob("*")]
    for path in sorted(logged):
        if path.is_file():
            name = path.relative_to(recorded.files).as_posix()
            same[name] = _digest(path) == _digest(folder / name)
    return same


def compare_epochs(recorded: Recorded, client: MlflowClient, again: Run) -> dict[str, bool]:
    """Whether the metrics of each epoch are the same as in the run, to the last bit.

    Args:
        recorded: the run.
        client: the client of the store that has the new run.
        again: the new run. It may have more epochs, because a trial may have been pruned.

    Returns:
        The epochs by name, such as `epoch 1`.
    """
    same: dict[str, bool] = {}
    for column in COLUMNS[1:]:  # the epoch is the step
        found = {m.step: m.value for m in client.get_metric_history(again.info.run_id, column)}
        for metric in MlflowClient().get_metric_history(recorded.run.info.run_id, column):
            equal = found.get(metric.step) == metric.value
            name = f"epoch {metric.step}"
            same[name] = same.get(name, True) and equal
    return same


def environment_differences(recorded: Recorded, again: Run) -> list[str]:
    """How the machine and the libraries differ from those of the run, a line for each."""
    new = again.data.tags
    keys = sorted(key for key in {*recorded.tags, *new} if key.startswith(_ENVIRONMENT))
    return [
        f"{key}: {recorded.tags.get(key, 'none')} in the run, {new.get(key, 'none')} here"
        for key in keys
        if recorded.tags.get(key) != new.get(key)
    ]


def _digest(path: Path) -> str:
    return sha256(path) if path.is_file() else ""
