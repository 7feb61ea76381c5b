"""The model registry: register models, and keep the champion up to date.

Several workspaces may share a store, and MLflow cannot change an alias on a condition. So a model
that beats the champion is registered with the tag `champion.claim` before it gets the alias. After
that, its evaluation looks for the claims of others. Whichever of them gets the alias last has seen
all, and gives the alias to the model that is right most often.
"""

import io
from collections.abc import Callable
from contextlib import redirect_stderr
from functools import cache

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipeline.config.schema import Config
from pipeline.evaluation.paired import Paired
from pipeline.system.errors import UserError
from pipeline.system.text import percent
from pipeline.tracking.names import registered_name
from pipeline.tracking.store import mlflow_errors
from pipeline.tracking.tags import CLAIM, DATA_DIGEST

CHAMPION = "champion"
_TAKES = """It takes raw pixels, uint8 of shape (N, height, width), and returns the probability of \
each class, float32 of shape (N, classes). Its run has the model in other forms: the \
artifacts `exports/`, whose README.md says how to load each."""
_MODEL_NOTE = """Reads an image of one handwritten character. The alias `champion` is the best \
model by evidence on validation images.

```
make predict FILES=digit.png MODEL=models:/<name>@champion
make serve
```"""
_SETTLE = 10  # attempts, in case that two evaluations disagree
Judge = Callable[[str], Paired]


def update_champion(cfg: Config, run: Run, model_id: str, judge: Judge) -> str:
    """Make a model the champion if it is better than the current one by evidence.

    Both answer the same validation images. The new model takes the title if it is right more often,
    and McNemar's exact test gives a p-value below `tracking.champion_level`.

    Args:
        cfg: the configuration, which has the name of the data set and the level.
        run: the run of the new model.
        model_id: MLflow's id of the new model.
        judge: compares the new model with the model of a URI, or raises `UserError`.

    Returns:
        A sentence that says which version is the champion, and why.

    Raises:
        TrackingUnavailableError: when the store does not answer.
        UserError: when the registry refuses a request.
    """
    with mlflow_errors():
        return _update(cfg, run, model_id, cache(judge))


def _update(cfg: Config, run: Run, model_id: str, judge: Judge) -> str:
    client, source = MlflowClient(), f"models:/{model_id}"
    name = registered_name(cfg.data.name)
    settled = {v.version for v in _versions(client, name) if CLAIM not in v.tags}
    accuracy, digest = run.data.metrics["validation_accuracy"], run.data.tags[DATA_DIGEST]
    tags = {"validation_accuracy": repr(accuracy), DATA_DIGEST: digest, CLAIM: "not settled yet"}
    reason = f"validation accuracy {accuracy:.4f}"
    if champion := _champion(client, name):
        kept = f"champion stays {name} version {champion.version}"
        if champion.source == source:
            if CLAIM in champion.tags:  # an evaluation was killed after it had set the alias
                client.delete_model_version_tag(name, champion.version, CLAIM)
            return f"{kept}, which is this model"
        if _data_of(client, champion) != digest:
            return f"{kept}: it was not trained on the same data, so it cannot be compared"
        try:
            paired = judge(str(champion.source))
        except UserError as error:
            return f"{kept}: it cannot be compared: {error}"
        if paired.won <= paired.lost:
            return f"{kept}: the new model is not right more often: {paired}"
        if not paired.is_better(level := cfg.tracking.champion_level):
            return f"{kept}: chance may explain {paired}; tracking.champion_level is {level}"
        tags |= _evidence(champion, paired)
        reason = f"it beats version {champion.version}: {paired}"
    mine = _register(client, name, source, tags, _note(run, reason))
    winner = _settle(client, name, mine, settled, judge)
    client.delete_model_version_tag(name, mine.version, CLAIM)
    if winner.version == mine.version:
        return f"new champion: {name} version {mine.version}, {reason}"
    return (
        f"champion is {name} version {winner.version}, from an evaluation at the same time: the "
        f"new model has {judge(str(winner.source))}"
    )


def _note(run: Run, reason: str) -> str:
    """The description of a version: why it is here, how well it does, what it takes and gives."""
    test = run.data.metrics.get("test_accuracy")
    well = f" It reads {percent(test)} of the test images right." if test is not None else ""
    return f"Champion, because {reason}.{well}\n\n{_TAKES}"


def _register(
    client: MlflowClient, name: str, source: str, tags: dict[str, str], note: str
) -> ModelVersion:
    """Register a model. A killed evaluation may have done so without setting the alias."""
    version = next((v for v in _versions(client, name) if v.source == source), None)
    if version is None:
        with redirect_stderr(io.StringIO()):  # two lines that say what the champion's line says
            version = mlflow.register_model(source, name, tags=tags)
    else:
        for key, value in tags.items():
            client.set_model_version_tag(name, version.version, key, value)
    client.update_model_version(name, version.version, note)
    client.update_registered_model(name, _MODEL_NOTE)
    return version


def _settle(
    client: MlflowClient, name: str, mine: ModelVersion, settled: set[str], judge: Judge
) -> ModelVersion:
    """Give the alias to the best of the models that claim it at the same time.

    Args:
        client: MLflow's client.
        name: the name of the registered model.
        mine: the new model's version.
        settled: the versions that had no claim when the new model was compared with the champion.
        judge: compares the new model with the model of a URI.

    Returns:
        The version that has the alias.
    """
    digest = _data_of(client, mine)
    for _ in range(_SETTLE):
        winner, right = mine, 0.0  # how many more images the winner has right than `mine`
        for rival in sorted(_versions(client, name), key=lambda v: int(v.version)):
            if rival.version in {*settled, mine.version} or _data_of(client, rival) != digest:
                continue
            try:
                paired = judge(str(rival.source))
            except UserError:
                continue  # what cannot be compared is left alone
            more = float(paired.lost - paired.won)
            # The earlier version wins a tie, so that both evaluations choose the same.
            if more > right or (more == right == 0 and int(rival.version) < int(winner.version)):
                winner, right = rival, more
        current = _champion(client, name)
        if current and current.version == winner.version:
            break
        client.set_registered_model_alias(name, CHAMPION, winner.version)
    return winner


def _evidence(champion: ModelVersion, paired: Paired) -> dict[str, str]:
    """The tags of a version that say why it took the title."""
    return {
        "champion.replaced": str(champion.version),
        "champion.replaced_accuracy": repr(paired.other_accuracy),
        "champion.images": str(paired.images),
        "champion.images_won": str(paired.won),
        "champion.images_lost": str(paired.lost),
        "champion.p_value": repr(paired.p_value),
    }


def _versions(client: MlflowClient, name: str) -> list[ModelVersion]:
    return list(client.search_model_versions(f"name = '{name}'"))


def _champion(client: MlflowClient, name: str) -> ModelVersion | None:
    """The champion; None only if there is no such model or alias."""
    try:
        aliases = client.get_registered_model(name).aliases
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return client.get_model_version(name, aliases[CHAMPION]) if CHAMPION in aliases else None


def _data_of(client: MlflowClient, version: ModelVersion) -> str | None:
    """The digest of the data that a version was trained on; None if it is not known.

    A version that was registered by hand has no tag, but its run has.
    """
    if digest := version.tags.get(DATA_DIGEST):
        return str(digest)
    try:
        model_id = str(version.source).removeprefix("models:/")
        run_id = version.run_id or client.get_logged_model(model_id).source_run_id
        return client.get_run(str(run_id)).data.tags.get(DATA_DIGEST)
    except MlflowException:
        return None
