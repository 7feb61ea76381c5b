"""The model registry: register models, and keep the champion up to date."""

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from pipeline.config.schema import Config
from pipeline.tracking.tags import DATA_DIGEST

CHAMPION = "champion"


def update_champion(cfg: Config, run: Run, model_id: str) -> str:
    """Register a model as the champion if it beats the current one on the same validation data.

    Call it under `store_lock`. Otherwise two evaluations that finish together could each replace
    the champion.

    Returns:
        A sentence that says which version is the champion, and why.
    """
    name = f"{cfg.data.name.replace('_', '-')}-classifier"
    client = MlflowClient()
    score = run.data.metrics["validation_accuracy"]
    try:
        champion = client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException:
        champion = None
    if champion is not None:
        best = float(champion.tags["validation_accuracy"])
        kept = f"champion stays {name} version {champion.version}, validation accuracy {best:.4f}"
        if champion.tags[DATA_DIGEST] != run.data.tags[DATA_DIGEST]:
            return f"{kept}: the new model was trained on different data and cannot be compared"
        if score <= best:
            return kept
    tags = {"validation_accuracy": repr(score), DATA_DIGEST: run.data.tags[DATA_DIGEST]}
    # A killed evaluation may have registered the version without setting the alias.
    known = client.search_model_versions(f"name = '{name}'")
    version = next((v for v in known if v.source == f"models:/{model_id}"), None)
    version = version or mlflow.register_model(f"models:/{model_id}", name, tags=tags)
    client.set_registered_model_alias(name, CHAMPION, version.version)
    return f"new champion: {name} version {version.version}, validation accuracy {score:.4f}"
