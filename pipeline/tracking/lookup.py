"""Find runs by what a user may call them, or by the model file that they produced."""

from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipeline.config.paths import COMPOSED
from pipeline.config.yaml_files import load_config
from pipeline.system.errors import UserError
from pipeline.tracking.names import registered_name
from pipeline.tracking.store import has_store, mlflow_errors, use_store
from pipeline.tracking.tags import MODEL_DIGEST

_MOST = 100  # runs that one name may stand for
_DIGEST = f"tags.`{MODEL_DIGEST}`"


def runs_named(name: str) -> list[Run]:
    """The runs that a name stands for, the newest first; none if there is no such run or store.

    Args:
        name: the id of a run, its name, the alias of a registered model such as `champion`, or a
            model URI: `runs:/<id>/model`, `models:/<name>@<alias>`, `models:/<name>/<version>` or
            `models:/<model id>`. An alias that several models have means that of the workspace's
            data.

    Raises:
        UserError: when the store does not answer, or several models have the alias and none is of
            the workspace's data.
    """
    use_store()
    if not has_store():
        return []
    with mlflow_errors():
        if name.startswith("runs:/"):
            return _search("attributes.run_id", name.removeprefix("runs:/").partition("/")[0])
        if name.startswith("models:/"):
            return _runs_of_model(name.removeprefix("models:/"))
        return (
            _search("attributes.run_id", name)
            or _search("attributes.run_name", name)
            or _runs_with_alias(name)
        )


def runs_of_file(digest: str) -> list[Run]:
    """The runs that produced a model file, the newest first.

    Args:
        digest: the SHA-256 of the file, in hexadecimal.
    """
    use_store()
    if not has_store():
        return []
    with mlflow_errors():
        return _search(_DIGEST, digest)


def find_run(experiment: str, digest: str) -> Run | None:
    """The newest run of an experiment that produced a model file; None if there is none.

    Args:
        experiment: the name of the MLflow experiment.
        digest: the SHA-256 of the file, in hexadecimal.

    Raises:
        MlflowException: when the store does not answer.
    """
    runs = _search(_DIGEST, digest, experiment)
    return runs[0] if runs else None


def run_names() -> list[str]:
    """The names of the newest runs."""
    use_store()
    if not has_store():
        return []
    with mlflow_errors():
        return [str(run.info.run_name) for run in _search()]


def _search(attribute: str = "", value: str = "", experiment: str = "") -> list[Run]:
    """The newest runs with a value, of one experiment or of all, the newest first."""
    quote = '"' if "'" in value else "'"
    return mlflow.search_runs(
        experiment_names=[experiment] if experiment else None,
        search_all_experiments=not experiment,
        filter_string=f"{attribute} = {quote}{value}{quote}" if attribute else "",
        order_by=["start_time DESC"],
        max_results=_MOST,
        output_format="list",
    )


def _runs_of_model(name: str) -> list[Run]:
    """The run of a registered version, or of a logged model."""
    client = MlflowClient()
    registered, at, alias = name.partition("@")
    try:
        if at:
            return _run_of_version(client.get_model_version_by_alias(registered, alias))
        if "/" in name:
            return _run_of_version(client.get_model_version(*name.split("/", 1)))
        return _run_of_logged_model(name)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return []
        raise


def _runs_with_alias(alias: str) -> list[Run]:
    """The run of the registered model that has a version with an alias.

    If several have one, it is the model of the workspace's data.
    """
    client = MlflowClient()
    models = [model for model in client.search_registered_models() if alias in model.aliases]
    if len(models) > 1:
        uris = ", ".join(f"models:/{model.name}@{alias}" for model in models)
        own = _workspace_model()
        models = [model for model in models if model.name == own]
        if not models:
            raise UserError(f"several models have the alias {alias!r}; name one: {uris}")
    return [
        run
        for model in models
        for run in _run_of_version(client.get_model_version(model.name, model.aliases[alias]))
    ]


def _workspace_model() -> str:
    """The name of the registered model of the workspace's data; "" if nothing was composed yet."""
    try:
        return registered_name(load_config(Path(COMPOSED)).data.name)
    except UserError:
        return ""


def _run_of_version(version: ModelVersion) -> list[Run]:
    if version.run_id:
        return _search("attributes.run_id", version.run_id)
    return _run_of_logged_model(str(version.source).removeprefix("models:/"))


def _run_of_logged_model(model_id: str) -> list[Run]:
    run_id = MlflowClient().get_logged_model(model_id).source_run_id
    return _search("attributes.run_id", run_id) if run_id else []
