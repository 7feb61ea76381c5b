"""The saved model of a run, as an MLflow logged model."""

import shutil
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import mlflow
import mlflow.keras
import numpy as np
from mlflow.entities import LoggedModelOutput, Run
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec

from pipeline.data.splits import load_split, load_stats
from pipeline.system.files import TEMPORARY
from pipeline.system.versions import tensorflow_requirement


def log_model_file(run: Run, model: keras.Model, path: Path, prepared: Path) -> str:
    """Log a .keras file, byte for byte, as the model of a run.

    Args:
        model: the model that the file holds.
        path: the .keras file in canonical form.
        prepared: folder of the prepared data, for the signature and an example of two images.

    Returns:
        MLflow's id of the logged model.
    """
    client = mlflow.MlflowClient()
    run_id = run.info.run_id
    logged = client.create_logged_model(
        run.info.experiment_id, name="model", source_run_id=run_id, params=run.data.params
    )
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    with TemporaryDirectory(prefix=TEMPORARY) as folder:
        mlflow.keras.save_model(
            model,
            folder,
            mlflow_model=Model(
                artifact_path=logged.artifact_location,
                run_id=run_id,
                model_uuid=logged.model_id,
                model_id=logged.model_id,
            ),
            signature=_signature(prepared),
            input_example=np.array(load_split(prepared, "validation").images[:2]),
            # Without these, MLflow loads the model in another process to find them: 13 seconds.
            pip_requirements=[f"keras=={version('keras')}", tensorflow_requirement()],
        )
        # Replace MLflow's file, in which Keras wrote a date and object ids of this process.
        shutil.copyfile(path, Path(folder) / "data" / "model.keras")
        client.log_model_artifacts(logged.model_id, folder)
    client.finalize_logged_model(logged.model_id, "READY")
    return logged.model_id


def _signature(prepared: Path) -> ModelSignature:
    stats = load_stats(prepared)
    pixels = TensorSpec(np.dtype(np.uint8), (-1, stats["height"], stats["width"]), "pixels")
    probabilities = TensorSpec(np.dtype(np.float32), (-1, stats["num_classes"]))
    return ModelSignature(Schema([pixels]), Schema([probabilities]))
