"""Which form answers a model URI, with a real store."""

from pathlib import Path

import mlflow
import numpy as np
import pytest

from pipeline.artifacts.keras_file import load_model, save_model
from pipeline.artifacts.loading import load_main
from pipeline.artifacts.recorded import version_of
from pipeline.forms.export import export_forms
from pipeline.models import mlp
from pipeline.system.errors import UserError
from pipeline.system.files import sha256
from pipeline.tracking.tags import MODEL_DIGEST

pytestmark = pytest.mark.slow

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 9, 8), np.uint8)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model file and its forms, in a project with a store of its own."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "models/model.keras"
    save_model(mlp((9, 8), 3, depth=1, width=5), path)
    export_forms(load_model(path), path, IMAGES, tmp_path / "exports")
    return path


def logged(file: Path, digest: str) -> str:
    """Log the forms with a run, and register a version whose run it is; the run's id."""
    mlflow.set_tracking_uri(f"sqlite:///{file.parents[1]}/mlflow.db")
    client = mlflow.MlflowClient()
    with mlflow.start_run(experiment_id="0", tags={MODEL_DIGEST: digest}) as run:
        mlflow.log_artifacts("exports", "exports")
    if not client.search_registered_models():
        client.create_registered_model("digits")
    version = client.create_model_version("digits", str(file), run.info.run_id)
    client.set_registered_model_alias("digits", "champion", version.version)
    return run.info.run_id


def test_file_is_answered_by_its_form_and_else_by_keras(file: Path) -> None:
    given = load_main("models/model.keras")
    assert (given.form, given.digest) == ("litert", sha256(Path("exports/model.tflite")))
    assert load_main("exports/model.onnx").form == "onnx"
    Path("exports/model.tflite").write_bytes(b"another")
    other = load_main("models/model.keras")
    assert (other.form, other.digest) == ("keras", "")
    np.testing.assert_allclose(
        given.predictor.answer(IMAGES), other.predictor.answer(IMAGES), atol=1e-5
    )


def test_run_and_alias_are_answered_by_the_form_that_the_run_recorded(file: Path) -> None:
    run_id = logged(file, sha256(file))
    for uri in (f"runs:/{run_id}/model", "models:/digits@champion", "models:/digits/1"):
        assert load_main(uri).form == "litert", uri
    champion = "models:/digits@champion"
    assert version_of(champion) == load_main(champion).version
    assert version_of("models:/digits@champion") == "1"
    logged(file, sha256(file))
    assert version_of("models:/digits@champion") == "2"
    assert version_of("models:/digits@nobody") == ""
    assert version_of(f"runs:/{run_id}/model") == ""


def test_form_of_another_model_is_not_used(file: Path) -> None:
    run_id = logged(file, "the digest of another model")
    with pytest.raises(UserError, match="is not a Keras model"):
        load_main(f"runs:/{run_id}/model")
