"""What the scripts share: train one combination of values, and log it to MLflow."""

from collections.abc import Callable, Sequence
from pathlib import Path

import mlflow

from pipeline.config.composition import compose
from pipeline.training.loop import train

Report = Callable[[float], None]


def train_logged(
    overrides: Sequence[str], folder: Path, report: Report = lambda accuracy: None
) -> float:
    """Train, and log each epoch, as a tutorial would.

    Args:
        overrides: what this training changes, in Hydra's grammar.
        folder: of the project, with its prepared data and its MLflow store.
        report: called after each epoch with the validation accuracy. It may end the training by an
            exception.

    Returns:
        The best validation accuracy.
    """
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    with mlflow.start_run():
        mlflow.log_params({"overrides": " ".join(overrides)})

        def on_epoch(epoch: int, row: dict[str, float]) -> None:
            mlflow.log_metrics(row, step=epoch)
            report(row["val_accuracy"])

        trained = train(compose(list(overrides)), folder / "data/prepared", on_epoch)
    return trained.best["val_accuracy"]
