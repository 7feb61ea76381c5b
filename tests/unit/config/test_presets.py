from pathlib import Path

import pytest

from pipeline.config.composition import compose, values_left_out
from pipeline.config.schema import Config
from pipeline.system.errors import UserError
from tests.helpers.shipped import SHIPPED

FIRST = "experiment=first_network"


def section(cfg: Config, group: str) -> object:
    return getattr(cfg, group)


@pytest.mark.slow
@pytest.mark.parametrize("model", [name for name in SHIPPED["model"] if name != "mlp"])
def test_another_model_than_the_preset_has_none_of_its_values(model: str) -> None:
    composed = compose([FIRST, f"model={model}"])
    assert composed.model == compose([f"model={model}"]).model
    assert (composed.train.epochs, composed.optimizer["learning_rate"]) == (10, 0.001)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [name for name in SHIPPED["optimizer"] if name != "adam"])
def test_another_optimizer_than_the_preset_has_its_own_values(optimizer: str) -> None:
    composed = compose([FIRST, f"optimizer={optimizer}"])
    assert composed.optimizer == compose([f"optimizer={optimizer}"]).optimizer
    assert composed.model["depth"] == 3


def test_the_file_that_the_preset_picks_keeps_its_values() -> None:
    same = compose([FIRST, "model=mlp", "optimizer=adam"])
    assert same.settings() == compose([FIRST]).settings()
    assert values_left_out([FIRST, "model=mlp"]) == []


@pytest.mark.slow
def test_values_of_the_user_apply_to_the_other_file() -> None:
    composed = compose([FIRST, "model=rnn", "model.depth=2", "optimizer=sgd", "train.epochs=1"])
    assert (composed.model["depth"], composed.train.epochs) == (2, 1)
    with pytest.raises(
        UserError, match=r"model\.width .*no key 'width'|model\.width .*no such key"
    ):
        compose([FIRST, "model=cnn", "model.width=3"])


def test_values_that_are_left_out_are_named() -> None:
    names = values_left_out([FIRST, "model=cnn", "optimizer=sgd"])
    assert names == [
        *(f"model.{name}" for name in ("depth", "width", "activation")),
        *("model.kernel_initializer", "model.bias_initializer", "optimizer.learning_rate"),
    ]


@pytest.mark.slow
def test_preset_that_extends_another_one(conf: Path) -> None:
    (conf / "experiment/wide.yaml").write_text(
        "# @package _global_\ndefaults: [first_network]\nmodel: {width: 1000}\n"
    )
    assert compose(["experiment=wide"], conf=conf).model["width"] == 1000
    assert (
        compose(["experiment=wide", "model=rnn"], conf=conf).model == compose(["model=rnn"]).model
    )


@pytest.mark.slow
def test_default_preset_with_values(conf: Path) -> None:
    path = conf / "experiment/default.yaml"
    path.write_text("# @package _global_\nmodel: {units: 8}\ntrain: {epochs: 9}\n")
    assert compose(conf=conf).model["units"] == 8
    composed = compose(["model=rnn"], conf=conf)
    assert (composed.model["units"], composed.train.epochs) == (64, 9)
