from pathlib import Path
from typing import Any

import keras
import mlflow
import mlflow.keras
import numpy as np
import pytest
from mlflow.entities import LoggedModelStatus

from pipeline.artifacts.keras_file import save_model
from pipeline.artifacts.uri import resolve_model
from pipeline.data.splits import load_split
from pipeline.models import mlp
from pipeline.system.versions import tensorflow_requirement
from pipeline.tracking.models import log_model_file
from tests.helpers import tiny


@pytest.fixture
def model() -> keras.Model:
    """A model of the tiny data set."""
    return mlp(tiny.SHAPE, tiny.CLASSES, depth=1, width=4)


@pytest.fixture
def logged(tracked: Path, prepared: Path, model: keras.Model) -> tuple[str, str, bytes]:
    """A run with a logged model: the ids of both, and the bytes of the model file."""
    path = tracked / "model.keras"
    save_model(model, path)
    client = mlflow.MlflowClient()
    run = client.create_run("1")
    return run.info.run_id, log_model_file(run, model, path, prepared), path.read_bytes()


def test_logged_file_has_the_same_bytes(logged: tuple[str, str, bytes]) -> None:
    run_id, model_id, content = logged
    for uri in (f"models:/{model_id}", f"runs:/{run_id}/model"):
        with resolve_model(uri) as path:
            assert path.read_bytes() == content


def test_model_is_ready_and_an_output_of_its_run(logged: tuple[str, str, bytes]) -> None:
    run_id, model_id, _ = logged
    client = mlflow.MlflowClient()
    found = client.get_logged_model(model_id)
    assert found.status == LoggedModelStatus.READY
    assert found.source_run_id == run_id
    outputs = client.get_run(run_id).outputs
    assert outputs
    assert [output.model_id for output in outputs.model_outputs] == [model_id]


def test_mlflow_loads_it_with_a_signature_and_an_example(
    logged: tuple[str, str, bytes], model: keras.Model, prepared: Path
) -> None:
    images = load_split(prepared, "validation").images[:2]
    loaded = mlflow.pyfunc.load_model(f"models:/{logged[1]}")
    np.testing.assert_allclose(loaded.predict(images), np.asarray(model(images)), rtol=1e-6)
    info = mlflow.models.get_model_info(f"models:/{logged[1]}")
    assert info.signature is not None
    assert info.signature.inputs.inputs[0].shape == (-1, *tiny.SHAPE)
    assert info.signature.outputs.inputs[0].shape == (-1, tiny.CLASSES)
    example: Any = mlflow.models.Model.load(f"models:/{logged[1]}").load_input_example()
    np.testing.assert_array_equal(example["pixels"], images)


def test_requirements_name_keras_and_tensorflow(logged: tuple[str, str, bytes]) -> None:
    requirements = mlflow.pyfunc.get_model_dependencies(f"models:/{logged[1]}")
    lines = Path(requirements).read_text().splitlines()
    assert f"keras=={keras.__version__}" in lines
    assert tensorflow_requirement() in lines
