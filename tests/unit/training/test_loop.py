import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.artifacts.keras_file import load_model, save_model
from pipeline.config.paths import CONF
from pipeline.config.schema import Config
from pipeline.data.splits import load_split
from pipeline.system.errors import UserError
from pipeline.system.seeds import Seeds
from pipeline.training.history import COLUMNS, read_history, write_history
from pipeline.training.loop import Trained, train
from pipeline.training.optimizer import make_optimizer
from tests.helpers.configs import MakeConfig, changed, without_speed


@given(st.integers(0, 2**32 - 1))
def test_seeds_are_three_streams(seed: int) -> None:
    seeds = Seeds.derive(seed)
    assert seeds == Seeds.derive(seed)
    assert len(set(vars(seeds).values())) == 3
    assert all(0 <= value < 2**32 for value in vars(seeds).values())


def test_neighbouring_seeds_share_no_stream() -> None:
    values = [value for seed in range(200) for value in vars(Seeds.derive(seed)).values()]
    assert len(set(values)) == 600


def row(epoch: int, **values: float) -> dict[str, float]:
    return {**dict.fromkeys(COLUMNS, 0.5), "epoch": epoch, **values}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.floats(allow_nan=False), min_size=5, max_size=5), max_size=4))
def test_history_comes_back_exactly(tmp_path: Path, measured: list[list[float]]) -> None:
    history = [
        dict(zip(COLUMNS, [epoch, *values], strict=True))
        for epoch, values in enumerate(measured, 1)
    ]
    write_history(history, tmp_path / "history.csv")
    back = read_history(tmp_path / "history.csv")
    assert back == history
    assert all(isinstance(epoch["epoch"], int) for epoch in back)


def test_best_epoch_is_the_first_of_the_lowest_validation_loss() -> None:
    losses = [0.9, 0.4, 0.4, 0.6]
    history = [row(n, val_loss=loss, loss=n / 10) for n, loss in enumerate(losses, 1)]
    trained = Trained(None, history)
    assert trained.best["epoch"] == 2
    metrics = trained.metrics()
    assert (metrics["epochs"], metrics["best_epoch"]) == (4, 2)
    assert (metrics["train_loss"], metrics["validation_loss"]) == (0.2, 0.4)


TINY = (
    "model=mlp",
    "model.depth=1",
    "model.width=8",
    "model.dropout=0.3",
    "augment=shift",
    "train.epochs=2",
    "train.batch_size=32",
)
Weights = list[np.ndarray[Any, Any]]


def weights(trained: Trained) -> Weights:
    return trained.model.get_weights()


def equal(one: Weights, two: Weights) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.fixture(scope="session")
def first(cfg: MakeConfig, prepared: Path) -> Trained:
    return train(cfg(*TINY), prepared)


def test_same_seed_gives_the_same_weights(first: Trained, cfg: MakeConfig, prepared: Path) -> None:
    again = train(cfg(*TINY), prepared)
    assert equal(weights(first), weights(again))
    assert without_speed(first.history) == without_speed(again.history)


@pytest.mark.slow
@pytest.mark.parametrize("change", ["train.seed=1", "augment=none", "optimizer.learning_rate=0.01"])
def test_what_shapes_the_training_changes_the_weights(
    first: Trained, cfg: MakeConfig, prepared: Path, change: str
) -> None:
    assert not equal(weights(first), weights(train(cfg(*TINY, change), prepared)))


@pytest.mark.slow
def test_epochs_are_reported_as_they_end(cfg: MakeConfig, prepared: Path) -> None:
    seen: list[tuple[int, dict[str, float]]] = []
    trained = train(cfg(*TINY), prepared, lambda epoch, values: seen.append((epoch, values)))
    assert [epoch for epoch, _ in seen] == [1, 2]
    for (_, values), kept in zip(seen, trained.history, strict=True):
        assert set(COLUMNS) < set(values)
        assert kept == values
        assert values["images_per_second"] > 0


@pytest.mark.slow
def test_training_learns_and_tells_its_true_validation_loss(
    cfg: MakeConfig, prepared: Path
) -> None:
    trained = train(cfg(*TINY, "train.epochs=12", "optimizer.learning_rate=0.02"), prepared)
    assert trained.best["val_accuracy"] > 0.9
    validation = load_split(prepared, "validation")
    probabilities = trained.model.predict(np.array(validation.images), verbose=0)
    true = probabilities[np.arange(30), validation.labels]
    assert trained.best["val_loss"] == pytest.approx(-np.log(true).mean(), rel=1e-4)


@pytest.mark.slow
def test_early_stop_restores_the_best_epoch(cfg: MakeConfig, prepared: Path) -> None:
    # A rate that throws the network about, so that a later epoch is worse than an earlier one.
    wild = cfg(
        *TINY,
        "train.epochs=30",
        "train.patience=2",
        "optimizer=sgd",
        "optimizer.learning_rate=3.0",
        "schedule=constant",
        "augment=none",
    )
    trained = train(wild, prepared)
    assert len(trained.history) == trained.best["epoch"] + 2 < 30
    # The same training, ended at its best epoch.
    ended = changed(wild, train=changed(wild.train, epochs=int(trained.best["epoch"])))
    assert equal(weights(trained), weights(train(ended, prepared)))


@pytest.mark.slow
def test_best_epoch_is_kept_when_training_runs_to_its_end(cfg: MakeConfig, prepared: Path) -> None:
    wild = cfg(*TINY, "train.epochs=5", "train.patience=5", "schedule=constant", "optimizer=sgd")
    trained = train(changed(wild, optimizer={**wild.optimizer, "learning_rate": 3.0}), prepared)
    validation = load_split(prepared, "validation")
    probabilities = trained.model.predict(np.array(validation.images), verbose=0)
    accuracy = (probabilities.argmax(1) == validation.labels).mean()
    assert trained.best["epoch"] < 5
    assert accuracy == pytest.approx(trained.best["val_accuracy"])


def test_loss_that_is_not_finite_names_step_and_epoch(cfg: MakeConfig, prepared: Path) -> None:
    exploding = cfg(*TINY, "optimizer=sgd", "optimizer.learning_rate=3e38", "schedule=constant")
    with pytest.raises(UserError, match=r"loss is (nan|inf) at step \d of epoch 1: .*rate"):
        train(exploding, prepared)


def rates(cfg: Config, total_steps: int) -> Callable[[int], float]:
    import keras

    schedule = make_optimizer(cfg, total_steps)._learning_rate
    assert isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule)
    return lambda step: float(schedule(step))


def test_one_cycle_spans_the_training_whatever_its_length(cfg: MakeConfig) -> None:
    for total in (40, 4000):
        rate = rates(cfg("optimizer.learning_rate=0.2", "schedule=one_cycle"), total)
        assert rate(0) == 0
        assert rate(total // 8) == pytest.approx(0.1)
        assert rate(total // 4) == pytest.approx(0.2)
        assert rate(total // 4 + 3 * total // 8) == pytest.approx(0.1)
        assert rate(total) == pytest.approx(0, abs=1e-6)


def test_cosine_falls_from_the_peak(cfg: MakeConfig) -> None:
    rate = rates(cfg("optimizer.learning_rate=0.2", "schedule=cosine"), 100)
    assert [rate(step) for step in (0, 50, 100)] == pytest.approx([0.2, 0.1, 0.0], abs=1e-6)


def test_no_schedule_keeps_the_rate(cfg: MakeConfig) -> None:
    optimizer = make_optimizer(cfg("optimizer.learning_rate=0.2", "schedule=constant"), 100)
    assert float(optimizer.learning_rate) == pytest.approx(0.2)


@pytest.mark.parametrize("name", sorted(path.stem for path in CONF.glob("optimizer/*.yaml")))
def test_every_optimizer_is_made(cfg: MakeConfig, name: str) -> None:
    settings_ = cfg(f"optimizer={name}").optimizer
    optimizer = make_optimizer(cfg(f"optimizer={name}", "schedule=constant"), 10)
    made = optimizer.get_config()
    for key, value in settings_.items():
        if key != "_target_":
            assert made[key] == pytest.approx(value)


def test_own_optimizer_and_schedule_are_a_yaml_file_each(
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
    # 8 steps in all; after them two stairs.
    assert trained.history[-1]["learning_rate"] == pytest.approx(0.00004)


@pytest.mark.parametrize(
    ("section", "settings_", "said"),
    [
        ("optimizer", {"_target_": "keras.optimizers.Adma", "learning_rate": 0.1}, "Adma"),
        ("optimizer", {"_target_": "keras.optimizers.RMSprop", "roh": 0.1}, "roh"),
        ("model", {"_target_": "pipeline.models.sequential", "layesr": []}, "layers"),
        ("model", {"_target_": "no_such_package.network"}, "no_such_package"),
    ],
)
def test_settings_that_the_target_refuses_are_named(
    cfg: MakeConfig, prepared: Path, section: str, settings_: dict[str, Any], said: str
) -> None:
    changes: dict[str, Any] = {section: settings_, "schedule": {}}
    with pytest.raises(UserError, match=said) as error:
        train(changed(cfg(*TINY), **changes), prepared)
    assert str(error.value).startswith(f"{section}: ")
    assert "\n" not in str(error.value)


MORE = (*TINY, "optimizer=momentum", "schedule=constant", "optimizer.learning_rate=0.01")


@pytest.fixture(scope="module")
def begun(cfg: MakeConfig, prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file: two epochs of 4 steps, with momentum."""
    path = tmp_path_factory.mktemp("begun") / "model.keras"
    save_model(train(cfg(*MORE), prepared).model, path)
    return path


def test_training_goes_on_from_a_model(cfg: MakeConfig, prepared: Path, begun: Path) -> None:
    first, more = train(cfg(*MORE), prepared), train(cfg(*MORE), prepared, init=begun)
    assert more.history[0]["loss"] < first.history[-1]["loss"]
    assert int(first.model.optimizer.iterations) == 8
    assert int(more.model.optimizer.iterations) == 16
    again = train(cfg(*MORE), prepared, init=begun)
    assert equal(weights(more), weights(again))


@pytest.mark.slow
def test_training_goes_on_with_the_state_of_its_optimizer(
    cfg: MakeConfig, prepared: Path, begun: Path, tmp_path: Path
) -> None:
    stripped = load_model(begun)
    stripped.compile()
    stripped.save(tmp_path / "stripped.keras")
    with_state = train(cfg(*MORE), prepared, init=begun)
    without = train(cfg(*MORE), prepared, init=tmp_path / "stripped.keras")
    assert not equal(weights(with_state), weights(without))


@pytest.mark.slow
def test_schedule_begins_anew_where_training_goes_on(
    cfg: MakeConfig, prepared: Path, begun: Path
) -> None:
    more = train(cfg(*MORE, "schedule=cosine"), prepared, init=begun)
    assert int(more.model.optimizer.iterations) == 8
    assert more.history[0]["learning_rate"] == pytest.approx(0.005)


def test_other_optimizer_begins_without_a_state(
    cfg: MakeConfig, prepared: Path, begun: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = train(cfg(*TINY, "optimizer=adam", "schedule=constant"), prepared, init=begun)
    assert int(more.model.optimizer.iterations) == 8
    assert "adam optimizer starts without a state" in capsys.readouterr().out


def test_model_that_does_not_fit_is_refused(cfg: MakeConfig, prepared: Path, begun: Path) -> None:
    with pytest.raises(UserError, match=r"train\.init_from: .*72×8.*72×9"):
        train(cfg(*MORE, "model.width=9"), prepared, init=begun)
