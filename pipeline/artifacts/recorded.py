"""The forms that `evaluate` has logged with a run, found by the URI of the run's model."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from pipeline.forms.predictor import EXPORTS, LITERT, ONNX, RECORD
from pipeline.system.files import TEMPORARY, sha256
from pipeline.tracking.lookup import runs_named
from pipeline.tracking.store import has_store, mlflow_errors, use_store
from pipeline.tracking.tags import MODEL_DIGEST


@contextmanager
def recorded_form(uri: str) -> Iterator[Path | None]:
    """The LiteRT or ONNX file of a model in MLflow, for as long as the block runs.

    Args:
        uri: `runs:/<id>/model`, `models:/<name>@<alias>`, `models:/<name>/<version>` or
            `models:/<model id>`.

    Returns:
        None if the run has no such form, or if its digest or the model's is not the recorded one.
    """
    runs = runs_named(uri)
    with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:
        yield _download(runs[0], Path(folder)) if runs else None


def version_of(uri: str) -> str:
    """The number of the registered version that a URI stands for now; "" if there is none.

    Raises:
        UserError: when the store does not answer.
    """
    if not uri.startswith("models:/"):
        return ""
    name, _, alias = uri.removeprefix("models:/").partition("@")
    if not alias:
        return name.partition("/")[2]
    use_store()
    if not has_store():
        return ""
    with mlflow_errors():
        try:
            return str(MlflowClient().get_model_version_by_alias(name, alias).version)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return ""
            raise


def _download(run: Run, folder: Path) -> Path | None:
    def get(name: str) -> Path:
        return Path(
            mlflow.artifacts.download_artifacts(
                run_id=run.info.run_id, artifact_path=f"{EXPORTS}/{name}", dst_path=str(folder)
            )
        )

    try:
        record = json.loads(get(RECORD).read_text("utf-8"))
        name = next(name for name in (LITERT, ONNX) if name in record["forms"])
        form = get(name)
        same = sha256(form) == record["forms"][name]
        same = same and record["model"] == run.data.tags.get(MODEL_DIGEST)
    except (MlflowException, OSError, ValueError, LookupError, TypeError, StopIteration):
        return None
    return form if same else None
