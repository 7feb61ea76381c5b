from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion

from pipeline.config.schema import Config
from pipeline.tracking.registry import CHAMPION, update_champion
from pipeline.tracking.tags import DATA_DIGEST
from tests.helpers.configs import MakeConfig

NAME = "mnist-sample-classifier"


@pytest.fixture
def sample_cfg(tracked: Path, cfg: MakeConfig) -> Config:
    """A configuration whose models are registered as NAME, in a store that has none."""
    return cfg("data=mnist_sample")


def trained(accuracy: float, digest: str = "data") -> tuple[Run, str]:
    """A run and its logged model, as they are after a training."""
    client = MlflowClient()
    run_id = client.create_run("1", tags={DATA_DIGEST: digest}).info.run_id
    client.log_metric(run_id, "validation_accuracy", accuracy)
    model = client.create_logged_model("1", name="model", source_run_id=run_id)
    client.finalize_logged_model(model.model_id, "READY")
    return client.get_run(run_id), model.model_id


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
    run, model = trained(0.9)
    line = update_champion(sample_cfg, run, model)
    assert line == f"new champion: {NAME} version 1, validation accuracy 0.9000"
    assert champion() == model


@pytest.mark.parametrize("accuracy", [0.8, 0.9])
def test_model_that_is_not_better_is_not_registered(sample_cfg: Config, accuracy: float) -> None:
    update_champion(sample_cfg, *(first := trained(0.9)))
    line = update_champion(sample_cfg, *trained(accuracy))
    assert line == f"champion stays {NAME} version 1, validation accuracy 0.9000"
    assert champion() == first[1]
    assert versions() == [first[1]]


def test_better_model_replaces_the_champion(sample_cfg: Config) -> None:
    update_champion(sample_cfg, *trained(0.9))
    run, model = trained(0.9 + 1e-9)
    assert update_champion(sample_cfg, run, model).startswith(f"new champion: {NAME} version 2")
    assert champion() == model


def test_model_of_other_data_is_not_compared(sample_cfg: Config) -> None:
    update_champion(sample_cfg, *(first := trained(0.9)))
    line = update_champion(sample_cfg, *trained(0.99, digest="other data"))
    assert line.startswith(f"champion stays {NAME} version 1, validation accuracy 0.9000: ")
    assert "different data" in line
    assert champion() == first[1]


def test_champion_that_is_evaluated_again_stays(sample_cfg: Config) -> None:
    run, model = trained(0.9)
    for _ in range(2):
        update_champion(sample_cfg, run, model)
    assert versions() == [model]
    assert champion() == model


def test_version_without_an_alias_is_used_again(sample_cfg: Config) -> None:
    """An evaluation may be killed between the registration and the alias."""
    run, model = trained(0.9)
    mlflow.register_model(f"models:/{model}", NAME, tags={"validation_accuracy": "0.9"})
    assert "version 1" in update_champion(sample_cfg, run, model)
    assert versions() == [model]
    assert champion() == model


def test_data_sets_have_separate_champions(sample_cfg: Config, cfg: MakeConfig) -> None:
    update_champion(sample_cfg, *(first := trained(0.9)))
    assert "mnist-classifier version 1" in update_champion(cfg("data=mnist"), *trained(0.8))
    assert champion() == first[1]
