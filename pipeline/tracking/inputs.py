"""The data sets that a run reads, logged as MLflow inputs."""

from pathlib import Path

import mlflow
from mlflow.data import from_numpy  # type: ignore[attr-defined]
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.numpy_dataset import NumpyDataset
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.exceptions import MlflowException

from pipeline.config.schema import Config
from pipeline.data.splits import data_digest, load_split


def mlflow_dataset(cfg: Config, prepared: Path, split: str) -> NumpyDataset:
    """Describe a split of the prepared data: `train`, `validation` or `test`."""
    arrays = load_split(prepared, split)
    return from_numpy(
        arrays.images,
        source=CodeDatasetSource({"mlflow.source.name": "pipeline/prepare.py"}),
        targets=arrays.labels,
        name=f"{cfg.data.name}-{split}",
        digest=data_digest(prepared, (split,))[:32],  # MLflow takes 36 characters at most
    )


def log_input(run_id: str, dataset: NumpyDataset, context: str) -> None:
    """Log a data set as an input of a run. Safe if several processes log a new one at once.

    Args:
        context: `training`, `validation` or `testing`.
    """
    entity = Dataset(**dataset.to_dict())
    entry = DatasetInput(entity, [InputTag("mlflow.data.context", context)])
    client = mlflow.MlflowClient()
    try:
        client.log_inputs(run_id, [entry])
    except MlflowException as error:
        if error.error_code != "BAD_REQUEST":  # MLflow's code for a conflict in its database
            raise
        client.log_inputs(run_id, [entry])  # the other process has created the data set


def log_training_inputs(run_id: str, cfg: Config, prepared: Path) -> None:
    """Log the training and validation splits as inputs of a run."""
    for split, context in (("train", "training"), ("validation", "validation")):
        log_input(run_id, mlflow_dataset(cfg, prepared, split), context)
