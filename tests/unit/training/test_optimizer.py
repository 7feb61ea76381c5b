import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.artifacts.keras_file import load_model, save_model
from pipeline.config.paths import CONF
from pipeline.config.schema import Config
from pipeline.system.errors import UserError
from pipeline.training.loop import train
from pipeline.training.optimizer import make_optimizer
from tests.helpers.configs import MakeConfig
from tests.helpers.shipped import SHIPPED
from tests.helpers.trainings import TINY, equal_weights, weights


def rates(cfg: Config, total_steps: int) -> Callable[[int], float]:
    """The learning rate of an optimizer, as a function of the step."""
    optimizer = make_optimizer(cfg, total_steps)

    def rate(step: int) -> float:
        optimizer.iterations.assign(step)
        return float(optimizer.learning_rate)

    return rate


def test_one_cycle_spans_a_training_of_any_length(cfg: MakeConfig) -> None:
    for total in (40, 4000):
        rate = rates(cfg("optimizer.learning_rate=0.2", "schedule=one_cycle"), total)
        assert rate(0) == 0
        assert rate(total // 8) == pytest.approx(0.1)
        assert rate(total // 4) == pytest.approx(0.2)
        assert rate(total // 4 + 3 * total // 8) == pytest.approx(0.1)
        assert rate(total) == pytest.approx(0, abs=1e-6)


def test_cosine_falls_from_the_learning_rate_to_0(cfg: MakeConfig) -> None:
    rate = rates(cfg("optimizer.learning_rate=0.2", "schedule=cosine"), 100)
    assert [rate(step) for step in (0, 50, 100)] == pytest.approx([0.2, 0.1, 0.0], abs=1e-6)


def test_learning_rate_is_constant_without_a_schedule(cfg: MakeConfig) -> None:
    optimizer = make_optimizer(cfg("optimizer.learning_rate=0.2", "schedule=constant"), 100)
    assert float(optimizer.learning_rate) == pytest.approx(0.2)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED["optimizer"])
def test_every_optimizer_has_its_settings(cfg: MakeConfig, name: str) -> None:
    settings_ = cfg(f"optimizer={name}").optimizer
    optimizer = make_optimizer(cfg(f"optimizer={name}", "schedule=constant"), 10)
    made = optimizer.get_config()
    for key, value in settings_.items():
        if key != "_target_":
            assert made[key] == pytest.approx(value)


@pytest.mark.slow
def test_own_optimizer_and_schedule_need_one_yaml_file_each(
    tmp_path: Path, cfg: MakeConfig, prepared: Path
) -> None:
    conf = tmp_path / "conf"
    shutil.copytree(CONF, conf)
    (conf / "optimizer/rmsprop.yaml").write_text(
        "_target_: keras.optimizers.RMSprop\nlearning_rate: 0.004\nrho: 0.8\n"
    )
    (conf / "schedule/stairs.yaml").write_text(
        "_target_: keras.optimizers.schedules.ExponentialDecay\n"
        "initial_learning_rate: ${optimizer.learning_rate}\n"
        "decay_steps: 0.5\ndecay_rate: 0.1\nstaircase: true\n"
    )
    trained = train(cfg(*TINY, "optimizer=rmsprop", "schedule=stairs", conf=conf), prepared)
    assert type(trained.model.optimizer).__name__ == "RMSprop"
    assert trained.model.optimizer.rho == 0.8
    # After 8 steps, the rate has fallen twice.
    assert trained.history[-1]["learning_rate"] == pytest.approx(0.00004)


MORE = (*TINY, "optimizer=momentum", "schedule=constant", "optimizer.learning_rate=0.01")


@pytest.fixture(scope="module")
def trained_file(cfg: MakeConfig, prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file, trained for two epochs of 4 steps with momentum."""
    path = tmp_path_factory.mktemp("trained") / "model.keras"
    save_model(train(cfg(*MORE), prepared).model, path)
    return path


@pytest.mark.slow
def test_training_continues_from_a_model(
    cfg: MakeConfig, prepared: Path, trained_file: Path
) -> None:
    first = train(cfg(*MORE), prepared)
    more = train(cfg(*MORE), prepared, init=trained_file)
    assert more.history[0]["loss"] < first.history[-1]["loss"]
    assert int(first.model.optimizer.iterations) == 8
    assert int(more.model.optimizer.iterations) == 16
    again = train(cfg(*MORE), prepared, init=trained_file)
    assert equal_weights(weights(more), weights(again))


@pytest.mark.slow
def test_training_continues_with_the_state_of_the_optimizer(
    cfg: MakeConfig, prepared: Path, trained_file: Path, tmp_path: Path
) -> None:
    stripped = load_model(trained_file)
    stripped.compile()
    stripped.save(tmp_path / "stripped.keras")
    with_state = train(cfg(*MORE), prepared, init=trained_file)
    without = train(cfg(*MORE), prepared, init=tmp_path / "stripped.keras")
    assert not equal_weights(weights(with_state), weights(without))


@pytest.mark.slow
def test_optimizer_starts_again_with_a_schedule(
    cfg: MakeConfig, prepared: Path, tmp_path: Path
) -> None:
    """Adam corrects its moments by its step count, so old moments do not fit a new count."""
    settings = (*TINY, "optimizer=adam", "schedule=cosine", "optimizer.learning_rate=0.01")
    first = train(cfg(*settings), prepared).model
    save_model(first, tmp_path / "trained.keras")
    first.compile()
    save_model(first, tmp_path / "without_state.keras")
    more, again = (
        train(cfg(*settings), prepared, init=tmp_path / name)
        for name in ("trained.keras", "without_state.keras")
    )
    assert int(more.model.optimizer.iterations) == 8
    assert more.history[0]["learning_rate"] == pytest.approx(0.005)
    assert equal_weights(weights(more), weights(again))


@pytest.mark.slow
def test_another_optimizer_starts_without_a_state(
    cfg: MakeConfig, prepared: Path, trained_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = train(cfg(*TINY, "optimizer=adam", "schedule=constant"), prepared, init=trained_file)
    assert int(more.model.optimizer.iterations) == 8
    assert "adam optimizer starts without the state" in capsys.readouterr().out


@pytest.mark.slow
def test_initial_model_of_another_shape_is_refused(
    cfg: MakeConfig, prepared: Path, trained_file: Path
) -> None:
    with pytest.raises(UserError, match=r"train\.init_from: .*72×8.*72×9"):
        train(cfg(*MORE, "model.width=9"), prepared, init=trained_file)
