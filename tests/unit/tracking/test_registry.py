"""Models are arrays of answers here; tests/unit/training/test_run_completion.py has real ones."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipeline.config.schema import Config
from pipeline.evaluation.paired import Paired, compare_answers
from pipeline.system.errors import UserError
from pipeline.tracking.registry import CHAMPION, update_champion
from pipeline.tracking.store import TrackingUnavailableError
from pipeline.tracking.tags import CLAIM, DATA_DIGEST
from tests.helpers.configs import MakeConfig

NAME = "mnist-sample-classifier"
IMAGES = 1000


@pytest.fixture
def sample_cfg(tracked: Path, cfg: MakeConfig) -> Config:
    """A configuration whose models are registered as NAME, in a store that has none."""
    return cfg("data=mnist_sample")


@dataclass
class Trained:
    """A model of the store, which answers the first `right` of all images right."""

    run: Run
    model_id: str
    right: int


def trained(right: int, digest: str = "data") -> Trained:
    """A run and its logged model, as they are after a training."""
    client = MlflowClient()
    run_id = client.create_run("1", tags={DATA_DIGEST: digest}).info.run_id
    client.log_metric(run_id, "validation_accuracy", right / IMAGES)
    client.log_param(run_id, "right", right)
    model = client.create_logged_model("1", name="model", source_run_id=run_id)
    client.finalize_logged_model(model.model_id, "READY")
    return Trained(client.get_run(run_id), model.model_id, right)


def update(cfg: Config, new: Trained, meanwhile: Callable[[], Any] = lambda: None) -> str:
    """Update the champion; `meanwhile` is called while the models are compared."""

    def judge(uri: str) -> Paired:
        logged = MlflowClient().get_logged_model(uri.removeprefix("models:/"))
        right = int(MlflowClient().get_run(str(logged.source_run_id)).data.params["right"])
        meanwhile()
        labels = np.zeros(IMAGES, np.uint8)
        answers, others = (np.arange(IMAGES) >= count for count in (new.right, right))
        return compare_answers(answers.astype(int), others.astype(int), labels)

    return update_champion(cfg, new.run, new.model_id, judge)


def champion() -> str:
    """The logged model that is the champion."""
    return model_of(MlflowClient().get_model_version_by_alias(NAME, CHAMPION))


def versions() -> list[str]:
    """The logged models that are registered."""
    return [model_of(version) for version in MlflowClient().search_model_versions()]


def model_of(version: ModelVersion) -> str:
    # `version.model_id` would be None: MLflow's SQL store does not keep it.
    return str(version.source).removeprefix("models:/")


def test_first_model_becomes_the_champion(sample_cfg: Config) -> None:
    new = trained(900)
    line = update(sample_cfg, new)
    assert line == f"new champion: {NAME} version 1, validation accuracy 0.9000"
    assert champion() == new.model_id


@pytest.mark.slow
@pytest.mark.parametrize(
    ("right", "reason"),
    [
        (800, "the new model is not right more often: accuracy 0.8000 against 0.9000 on 1000 "),
        (900, "the new model is not right more often: accuracy 0.9000 against 0.9000 on 1000 "),
        (905, "chance may explain accuracy 0.9050 against 0.9000 on 1000 validation images; 5 "),
    ],
)
def test_model_that_is_not_better_by_evidence_is_not_registered(
    sample_cfg: Config, right: int, reason: str
) -> None:
    update(sample_cfg, first := trained(900))
    line = update(sample_cfg, trained(right))
    assert line.startswith(f"champion stays {NAME} version 1: {reason}")
    assert "(McNemar's exact test)" in line
    assert champion() == first.model_id
    assert versions() == [first.model_id]


@pytest.mark.slow
def test_better_model_replaces_the_champion_and_the_version_says_why(sample_cfg: Config) -> None:
    update(sample_cfg, trained(900))
    line = update(sample_cfg, new := trained(920))
    reason = (
        "it beats version 1: accuracy 0.9200 against 0.9000 on 1000 validation images; 20 images "
        "won, 0 lost; p = 1.9e-06 (McNemar's exact test)"
    )
    assert line == f"new champion: {NAME} version 2, {reason}"
    assert champion() == new.model_id
    version = MlflowClient().get_model_version_by_alias(NAME, CHAMPION)
    assert str(version.description).startswith(f"Champion, because {reason}.")
    assert "exports/" in str(version.description)
    assert version.tags == {
        "validation_accuracy": "0.92",
        DATA_DIGEST: "data",
        "champion.replaced": "1",
        "champion.replaced_accuracy": "0.9",
        "champion.images": "1000",
        "champion.images_won": "20",
        "champion.images_lost": "0",
        "champion.p_value": repr(2 * 0.5**20),
    }


@pytest.mark.slow
def test_level_decides(sample_cfg: Config, cfg: MakeConfig) -> None:
    update(sample_cfg, trained(900))
    generous = cfg("data=mnist_sample", "tracking.champion_level=0.1")
    assert update(generous, trained(905)).startswith("new champion")


def test_model_of_other_data_is_not_compared(sample_cfg: Config) -> None:
    update(sample_cfg, first := trained(900))
    line = update(sample_cfg, trained(990, digest="other data"))
    assert line.startswith(f"champion stays {NAME} version 1: ")
    assert "not trained on the same data" in line
    assert champion() == first.model_id


@pytest.mark.slow
def test_version_that_was_registered_by_hand_is_compared(sample_cfg: Config) -> None:
    """Its tags say nothing, but its run does."""
    first = trained(900)
    mlflow.register_model(f"models:/{first.model_id}", NAME)
    MlflowClient().set_registered_model_alias(NAME, CHAMPION, "1")
    assert update(sample_cfg, trained(800)).startswith("champion stays")
    assert update(sample_cfg, trained(950)).startswith("new champion")


@pytest.mark.slow
@pytest.mark.parametrize("source", ["models:/{}", "/a/folder", "file:///a/folder", "s3://bucket/a"])
def test_champion_from_elsewhere_is_left_alone(sample_cfg: Config, source: str) -> None:
    client = MlflowClient()
    client.create_registered_model(NAME)
    logged = client.create_logged_model("1", name="no run")
    client.create_model_version(NAME, source.format(logged.model_id))
    client.set_registered_model_alias(NAME, CHAMPION, "1")
    line = update(sample_cfg, trained(900))
    assert line.startswith(f"champion stays {NAME} version 1: ")
    assert line.endswith("so it cannot be compared")


def test_model_that_cannot_be_loaded_is_left_alone(sample_cfg: Config) -> None:
    def refuse(uri: str) -> Paired:
        raise UserError(f"{uri} is damaged")

    update(sample_cfg, first := trained(900))
    new = trained(990)
    line = update_champion(sample_cfg, new.run, new.model_id, refuse)
    reason = f"it cannot be compared: models:/{first.model_id} is damaged"
    assert line == f"champion stays {NAME} version 1: {reason}"


@pytest.mark.slow
def test_edited_tag_ends_no_evaluation(sample_cfg: Config) -> None:
    update(sample_cfg, trained(900))
    client = MlflowClient()
    client.set_model_version_tag(NAME, "1", "validation_accuracy", "a lot")
    client.delete_model_version_tag(NAME, "1", DATA_DIGEST)
    assert update(sample_cfg, trained(950)).startswith("new champion")


@pytest.mark.slow
def test_store_that_fails_is_not_a_store_without_a_champion(
    sample_cfg: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: MlflowClient, *_: Any) -> None:
        raise MlflowException("the database is locked")

    update(sample_cfg, first := trained(900))
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "get_registered_model", fail)
        patch.setattr(MlflowClient, "get_model_version_by_alias", fail)
        with pytest.raises(TrackingUnavailableError, match="locked"):
            update(sample_cfg, trained(800))
    assert champion() == first.model_id
    assert versions() == [first.model_id]


def test_champion_that_is_evaluated_again_stays(sample_cfg: Config) -> None:
    new = trained(900)
    update(sample_cfg, new)
    assert update(sample_cfg, new) == f"champion stays {NAME} version 1, which is this model"
    assert versions() == [new.model_id]
    assert champion() == new.model_id


def test_claim_that_a_kill_left_on_the_champion_is_removed(sample_cfg: Config) -> None:
    new = trained(900)
    update(sample_cfg, new)
    MlflowClient().set_model_version_tag(NAME, "1", CLAIM, "not settled yet")
    assert update(sample_cfg, new) == f"champion stays {NAME} version 1, which is this model"
    [version] = MlflowClient().search_model_versions()
    assert CLAIM not in version.tags


def test_version_without_an_alias_is_used_again(sample_cfg: Config) -> None:
    """An evaluation may be killed between the registration and the alias."""
    new = trained(900)
    mlflow.register_model(f"models:/{new.model_id}", NAME)
    assert "version 1" in update(sample_cfg, new)
    assert versions() == [new.model_id]
    assert champion() == new.model_id


@pytest.mark.slow
def test_data_sets_have_separate_champions(sample_cfg: Config, cfg: MakeConfig) -> None:
    update(sample_cfg, first := trained(900))
    assert "mnist-classifier version 1" in update(cfg("data=mnist"), trained(800))
    assert champion() == first.model_id


@pytest.mark.slow
@pytest.mark.parametrize(("slow", "fast"), [(950, 960), (960, 950), (950, 950)])
@pytest.mark.parametrize(
    ("delayed", "first"),
    [("the alias", True), ("the alias", False), ("the comparison", False)],
)
def test_of_two_evaluations_at_once_the_better_model_wins(
    sample_cfg: Config,
    monkeypatch: pytest.MonkeyPatch,
    slow: int,
    fast: int,
    delayed: str,
    first: bool,
) -> None:
    """Two workspaces share a store. One evaluation runs whole while the other is delayed."""
    if not first:
        update(sample_cfg, trained(800))
    one, two = trained(slow), trained(fast)
    other = [two]
    set_alias = MlflowClient.set_registered_model_alias

    def run_the_other(*_: Any) -> None:
        if other:
            update(sample_cfg, other.pop())

    def set_alias_late(self: MlflowClient, name: str, alias: str, version: str) -> None:
        run_the_other()
        set_alias(self, name, alias, version)

    if delayed == "the alias":
        monkeypatch.setattr(MlflowClient, "set_registered_model_alias", set_alias_late)
        line = update(sample_cfg, one)
    else:
        line = update(sample_cfg, one, meanwhile=run_the_other)
    assert not other
    if slow != fast:
        assert champion() == max(one, two, key=lambda model: model.right).model_id
    assert line.startswith("new champion" if champion() == one.model_id else "champion")
    assert all(CLAIM not in version.tags for version in MlflowClient().search_model_versions())
