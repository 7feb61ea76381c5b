"""What a new study starts with: `sweep.enqueue` and `sweep.from`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest

from pipeline.config.composition import compose, compose_sweep
from pipeline.config.schema import Sweep
from pipeline.sweeps.parsing import parse_space
from pipeline.sweeps.preflight import check_same_study
from pipeline.sweeps.storage import Store, Study
from pipeline.sweeps.study import ask_trial, requeue_stale
from pipeline.sweeps.trials import (
    OVERRIDES,
    RUN,
    STARTING_POINT,
    TAKEN_OVER,
    THREADS,
    WEIGHTS,
    complete_trials,
    minutes_of_trials,
    total_trials,
)
from pipeline.sweeps.warm_start import starting_points, warm_start
from pipeline.system.errors import UserError
from tests.helpers.configs import changed
from tests.helpers.spaces import BASE, sweep_with
from tests.helpers.studies import RANDOM, random_sweep

LOG = "tag(log, interval(1e-4, 1e-1))"


def points_of(params: Mapping[str, Any], *enqueue: dict[str, Any], **changes: Any) -> Any:
    sweep = sweep_with(params, enqueue=list(enqueue), **changes)
    return starting_points(sweep, parse_space(sweep), BASE)


def test_default_is_the_preset() -> None:
    assert (
        compose_sweep().sweep.enqueue == compose_sweep(["sweep=optimizers"]).sweep.enqueue == [{}]
    )
    sweep = sweep_with(
        {
            "optimizer": "choice(sgd, adam, adamw)",
            "optimizer.learning_rate": LOG,
            "model.width": "range(32, 1025, 32)",
            "model.depth": {"when": "optimizer=adam", "space": "range(1, 5)"},
            "model.activation": {"when": "optimizer=sgd", "space": "choice(relu, tanh)"},
            "train.epochs": 2,
        }
    )
    [point] = starting_points(sweep, parse_space(sweep), BASE)
    cfg = compose(BASE)
    assert cfg.choices["optimizer"] == "adam"
    assert point == {
        "optimizer": "adam",
        "optimizer.learning_rate": cfg.optimizer["learning_rate"],
        "model.width": cfg.model["width"],
        "model.depth": cfg.model["depth"],
    }


def test_key_left_out_follows_the_given_group() -> None:
    """The momentum file has its own learning rate."""
    params = {"optimizer.learning_rate": LOG, "optimizer": "choice(adam, momentum)"}
    [point] = points_of(params, {"optimizer": "momentum"})
    wanted = compose([*BASE, "optimizer=momentum"]).optimizer["learning_rate"]
    assert point == {"optimizer": "momentum", "optimizer.learning_rate": wanted}


def test_values_of_all_kinds_are_found_in_the_space() -> None:
    params = {
        "model": "choice(mlp, cnn)",
        "model.filters": {"when": "model=cnn", "space": "choice([8, 16], [32, 32])"},
        "train.label_smoothing": "range(0.0, 0.31, 0.1)",
        "train.batch_size": "int(interval(16, 256))",
        "optimizer.learning_rate": LOG,
    }
    item = {
        "model": "cnn",
        "model.filters": [32, 32],
        "train.label_smoothing": 0.3,
        "train.batch_size": 64,
        "optimizer.learning_rate": 0.01,
    }
    [point] = points_of(params, item)
    assert point == {**item, "model.filters": "[32,32]"}


def test_value_of_any_branch_of_a_key_can_be_given() -> None:
    """The rate of the preset is looked up first. The last branch does not have the values."""
    params = {
        "optimizer.learning_rate": LOG,
        "model": "choice(mlp, cnn)",
        "optimizer": [
            {"when": "model=cnn", "space": "choice(momentum, adamw)"},
            {"when": "model=mlp", "space": "choice(sgd, adam)"},
        ],
        "model.filters": [
            {"when": "optimizer=momentum", "space": "choice([8, 16], [16, 16])"},
            {"when": "optimizer=adamw", "space": "choice([8, 32], [32, 32])"},
        ],
    }
    item = {"model": "cnn", "optimizer": "momentum", "model.filters": [16, 16]}
    [point] = points_of(params, item)
    wanted = compose([*BASE, "model=cnn", "optimizer=momentum"]).optimizer["learning_rate"]
    assert list(point.values()) == [wanted, "cnn", "momentum", "[16,16]"]


def test_preset_value_outside_the_space_is_left_to_the_sampler() -> None:
    params = {"model.width": "choice(3, 4)", "optimizer.learning_rate": LOG}
    [point] = points_of(params, {})
    assert list(point) == ["optimizer.learning_rate"]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"model.widht": 4}, "the sweep does not set model.widht; did you mean model.width"),
        ({"model.width": 5}, "model.width=5 is not one of the sweep's values"),
        ({"model.width": 4.0}, "model.width=4.0 is not one of the sweep's values"),
        ({"optimizer.learning_rate": 5}, "optimizer.learning_rate=5 is not one of"),
        ({"optimizer.learning_rate": True}, "optimizer.learning_rate=True is not one of"),
        ({"train.epochs": 7}, "train.epochs=7 is not one of the sweep's values"),
        ({"model.depth": 2, "model.width": 3}, "model.depth does not apply with model.width=3"),
    ],
    ids=str,
)
def test_item_that_is_not_in_the_space_is_refused(item: dict[str, Any], message: str) -> None:
    params = {
        "model.width": "choice(3, 4)",
        "optimizer.learning_rate": LOG,
        "train.epochs": 2,
        "model.depth": {"when": "model.width=4", "space": "range(1, 4)"},
    }
    with pytest.raises(UserError) as error:
        points_of(params, {}, item)
    assert f"sweep.enqueue, item 2 (conf/sweep: default): {message}" in str(error.value)


def test_grid_and_replicates_try_only_their_own_values() -> None:
    grid = {"_target_": "optuna.samplers.GridSampler", "search_space": {"model.width": [3, 4]}}
    params = {"model.width": "choice(3, 4)"}
    assert points_of(params, {}, sampler=grid) == []
    with pytest.raises(UserError, match=r"sweep\.enqueue: a grid tries only its own values"):
        points_of(params, {"model.width": 3}, sampler=grid)
    assert points_of({"train.seed": "range(0, 9)"}, {}, replicates=True) == []


def start(store: Store, sweep: Sweep, base: list[str] = BASE, data: str = "data") -> Study:
    """A new study, as a sweep starts it."""
    study, space = store.create(*sweep.directions), parse_space(sweep)
    points = starting_points(sweep, space, base)
    warm_start(study, sweep, space, base, points, data)
    check_same_study(study, sweep, space, compose(base), data, base)
    return study


def end_trial(study: Study, sweep: Sweep, value: float) -> optuna.Trial:
    trial = ask_trial(study, parse_space(sweep), sweep)
    assert trial is not None
    trial.set_user_attr(THREADS, 1)
    trial.set_user_attr(RUN, f"run {trial.number}")
    study.tell(trial, value)
    return trial


def test_starting_points_are_the_first_trials_and_survive_a_dead_worker(store: Store) -> None:
    enqueue = [{"model.width": 700}, {"model.width": 700}, {}]
    sweep = changed(random_sweep(9, **{"model.width": "range(4, 900)"}), enqueue=enqueue)
    study = start(store, sweep)
    space = parse_space(sweep)
    # A kill before the settings were recorded: the second call adds nothing.
    warm_start(study, sweep, space, BASE, starting_points(sweep, space, BASE), "data")
    assert len(study.trials) == 2
    trial = ask_trial(study, space, sweep)
    assert trial is not None
    assert trial.user_attrs[OVERRIDES] == ["model.width=700"]
    study.release(trial)
    requeue_stale(study)
    widths = [end_trial(study, sweep, 0.5) for _ in range(3)]
    assert [t.params["model.width"] for t in widths[:2]] == [compose(BASE).model["width"], 700]
    assert [STARTING_POINT in t.user_attrs for t in widths] == [True, True, False]


def test_starting_points_draw_the_rest_with_different_seeds(store: Store) -> None:
    params = {"model.width": "int(interval(400, 900))", "optimizer.learning_rate": LOG}
    enqueue = [{"optimizer.learning_rate": rate} for rate in (0.001, 0.01)]
    sweep = changed(random_sweep(9, **params), enqueue=enqueue)
    study = start(store, sweep)
    widths = {end_trial(study, sweep, 0.5).params["model.width"] for _ in range(3)}
    assert len(widths) == 3


@pytest.fixture
def other(tmp_path: Path) -> Study:
    """A study of four widths, the last of which failed."""
    sweep = changed(random_sweep(9, **{"model.width": "choice(8, 16, 32, 64)"}), enqueue=[])
    study = start(Store(tmp_path / "other", "other"), changed(sweep, name="other"))
    for value in (0.5, 0.6, 0.7):
        end_trial(study, sweep, value)
    trial = ask_trial(study, parse_space(sweep), sweep)
    assert trial is not None
    study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return study


def warm(params: Mapping[str, Any]) -> Sweep:
    return changed(random_sweep(2, **params), from_="other", enqueue=[])


def test_trials_that_lie_in_the_space_are_taken_over(
    store: Store, other: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    """A width is now any whole number up to 40, and the key of a constant is new."""
    sweep = warm({"model.width": "int(interval(1, 40))", "train.seed": 0})
    study = start(store, sweep)
    theirs = {trial.params["model.width"]: trial for trial in complete_trials(other)}
    fitting = {width: trial for width, trial in theirs.items() if width <= 40}
    assert len(fitting) in (2, 3)
    output = capsys.readouterr().out
    assert f"default: {len(fitting)} of 3 complete trials of other lie in its space\n" in output
    for trial in study.trials:
        source = fitting.pop(trial.params["model.width"])
        assert trial.value == source.value
        assert trial.user_attrs[RUN] == f"run {source.number}"
        assert trial.user_attrs[TAKEN_OVER] == f"trial {source.number} of other"
        assert trial.datetime_complete == source.datetime_complete
    taken = len(study.trials)
    # They are in addition to those that the sweep runs, and take none of its time.
    assert total_trials(study, parse_space(sweep), sweep) == taken + 2
    assert minutes_of_trials(study) == 0
    for _ in range(2):
        end_trial(study, sweep, 0.1)
    assert ask_trial(study, parse_space(sweep), sweep) is None
    assert len({t.params["model.width"] for t in study.trials}) == taken + 2


def test_trials_are_taken_over_with_a_second_objective(store: Store, other: Study) -> None:
    """The earlier trials of the other study have no number of weights: they are left."""
    trial = other.ask()
    trial.set_user_attr(OVERRIDES, ["model.width=64"])
    trial.set_user_attr(WEIGHTS, 99)
    other.tell(trial, 0.8)
    sweep = changed(
        warm({"model.width": "range(4, 900)"}),
        also_minimize="weights",
        pruner={"_target_": "optuna.pruners.NopPruner"},
    )
    study = start(Store(store.folder.parent / "two", "two"), sweep)
    [taken] = complete_trials(study)
    assert taken.values == [0.8, 99]


def test_trials_that_trained_something_else_are_left(store: Store, other: Study) -> None:
    """In the new sweep, all trials have another activation."""
    sweep = warm({"model.width": "int(interval(1, 99))", "model.activation": "tanh"})
    assert start(store, sweep).trials == []


def test_choice_of_a_group_and_a_base_can_lie_in_the_space(store: Store, other: Study) -> None:
    """What all trials of the other study shared is searched here."""
    params = {"model": "choice(mlp, cnn)", "optimizer": "choice(sgd, adam)"}
    base = ["data=mnist_sample"]
    widths = {"when": "model=mlp", "space": "range(8, 65, 8)"}
    study = start(store, warm({**params, "model.width": widths}), base)
    assert len(study.trials) == 3
    assert {(t.params["model"], t.params["optimizer"]) for t in study.trials} == {("mlp", "adam")}


def test_trial_that_no_longer_composes_is_left(
    store: Store, other: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its preset may be gone."""
    trial = other.ask()
    trial.set_user_attr(OVERRIDES, ["experiment=gone"])
    other.tell(trial, 0.8)
    study = start(store, warm({"model.width": "range(4, 900)"}))
    assert len(study.trials) == 3
    assert (
        "default: 3 of 4 complete trials of other lie in its space; "
        "without a valid configuration: 1\n"
    ) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"from_": "othr"}, r"no study 'othr' in .*; did you mean other\?"),
        ({"metric": "val_loss"}, r"sweep\.from: the metric of other is val_accuracy"),
        ({}, r"sweep\.from: other was trained on other data"),
    ],
    ids=["unknown", "metric", "data"],
)
def test_study_that_cannot_be_taken_over_is_one_line(
    store: Store, other: Study, change: dict[str, Any], message: str
) -> None:
    sweep = changed(warm({"model.width": "range(1, 9)"}), sampler=RANDOM, **change)
    with pytest.raises(UserError, match=message):
        start(store, sweep, data="other data")
