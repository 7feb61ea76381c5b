import pytest

from pipeline.system.seeds import Seeds
from pipeline.tracking.names import run_name, run_params, trial_name
from tests.helpers.configs import MakeConfig


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], "cnn"),
        (["train.seed=3"], "cnn seed=3"),
        (["model=mlp", "optimizer=sgd", "model.depth=4"], "mlp sgd depth=4"),
        (["optimizer.learning_rate=0.00123456"], "cnn learning_rate=0.00123"),
        (["experiment=first_network"], "first_network"),
        (["experiment=first_network", "model=softmax"], "first_network softmax"),
        (["data=mnist_sample", "model.filters=[8, 16]"], "cnn mnist_sample filters=[8,16]"),
        (["fetch.retries=1", "tracking.experiment=x", "train.threads=1"], "cnn"),
        (["optimizer.beta_1=0.5", "tracking.run_name=my run"], "my run"),
        (
            ["prepare.seed=1", "train.seed=2"],
            "cnn prepare.seed=1 train.seed=2",
        ),
    ],
)
def test_name_says_what_a_run_is_and_what_differs(
    cfg: MakeConfig, overrides: list[str], name: str
) -> None:
    assert run_name(cfg(*overrides)) == name


def test_trial_is_named_by_its_parameters_and_not_too_long() -> None:
    values = {"optimizer": "sgd", "optimizer.learning_rate": "0.0123456", "model.depth": "6"}
    assert trial_name(3, values) == "trial 3: optimizer=sgd learning_rate=0.0123 depth=6"
    assert trial_name(3, {}) == "trial 3"
    long = trial_name(3, {f"model.argument_{n}": "1" for n in range(9)})
    assert len(long) == 80
    assert long.endswith("…")


def test_parameters_are_the_choices_what_shapes_the_result_and_the_seeds(cfg: MakeConfig) -> None:
    params = {param.key: param.value for param in run_params(cfg("train.seed=7", "model=mlp"))}
    expected = {"model": "mlp", "data": "mnist", "experiment": "default", "train.seed": "7"}
    assert expected.items() <= params.items()
    assert params["model.width"] == "256"
    for name, seed in vars(Seeds.derive(7)).items():
        assert params[f"seed.{name}"] == str(seed)
    left_out = ("data.", "fetch.", "tracking.", "evaluate.", "versions.", "choices.", "changes.")
    assert [key for key in params if key.startswith(left_out)] == []
    assert "model._target_" not in params


def test_changed_target_is_a_parameter(cfg: MakeConfig) -> None:
    params = {
        param.key: param.value
        for param in run_params(cfg("optimizer._target_=keras.optimizers.Lion"))
    }
    assert params["optimizer._target_"] == "keras.optimizers.Lion"
