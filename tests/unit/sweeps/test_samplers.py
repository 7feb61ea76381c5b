from typing import Any

import optuna
import pytest
from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler

from pipeline.config.schema import Sweep
from pipeline.sweeps.parsing import parse_space
from pipeline.sweeps.samplers import make_strategy, random_sampler
from pipeline.sweeps.storage import Store
from pipeline.sweeps.study import ask_trial
from pipeline.sweeps.trials import (
    finished_trials,
)
from pipeline.system.errors import UserError
from tests.helpers.configs import changed
from tests.helpers.studies import finished_params, random_sweep, run_trials


@pytest.mark.parametrize("kind", ["QMCSampler", "PartialFixedSampler"])
@pytest.mark.filterwarnings("ignore")
def test_parameters_that_only_some_trials_have_vary(store: Store, kind: str) -> None:
    nested = {"_target_": "optuna.samplers.RandomSampler", "seed": 0}
    settings: dict[str, dict[str, Any]] = {
        "QMCSampler": {"seed": 0},
        "PartialFixedSampler": {"fixed_params": {}, "base_sampler": nested},
    }
    sampler = settings[kind]
    varied = {
        "model": "choice(mlp, cnn)",
        "optimizer.learning_rate": "tag(log, interval(1e-4, 1e-1))",
        "model.dropout": {"when": "model=mlp", "space": "interval(0.0, 0.5)"},
    }
    sweep = random_sweep(16, **varied)
    sweep = changed(sweep, sampler={"_target_": f"optuna.samplers.{kind}", **sampler})
    study = store.open()
    while trial := ask_trial(study, parse_space(sweep), sweep):
        study.tell(trial, 0.0)
    trials = [trial.params for trial in finished_trials(study)]
    dropout = [params["model.dropout"] for params in trials if params["model"] == "mlp"]
    assert len(trials) == 16
    assert len(set(dropout)) == len(dropout) > 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "sampler",
    [
        {"_target_": "optuna.samplers.TPESampler", "seed": 0, "n_startup_trials": 3},
        {"_target_": "optuna.samplers.BruteForceSampler"},
        {"_target_": "optuna.samplers.QMCSampler", "seed": 0},
        {
            "_target_": "optuna.samplers.GridSampler",
            "search_space": {"train.epochs": [1, 2, 3, 4, 5, 6, 7, 8]},
            "seed": 0,
        },
    ],
    ids=lambda sampler: sampler["_target_"],
)
@pytest.mark.filterwarnings("ignore")
def test_sampler_repeats_no_parameters(store: Store, sampler: dict[str, Any]) -> None:
    sweep = changed(random_sweep(8, **{"train.epochs": "range(1, 9)"}), sampler=sampler)
    run_trials(store, changed(sweep, trials=4))
    run_trials(store, sweep)
    assert sorted(finished_params(store)) == [(("train.epochs", n),) for n in range(1, 9)]


def first_value(sweep: Sweep, number: int) -> float:
    """What the sampler for the trial of a number suggests in an empty study."""
    sampler, _ = make_strategy(sweep, number)
    return optuna.create_study(sampler=sampler).ask().suggest_float("x", 0, 1)


@pytest.mark.parametrize("kind", ["RandomSampler", "TPESampler"])
def test_each_trial_has_another_seed_that_does_not_change(kind: str) -> None:
    """Otherwise a resumed sweep, and each worker, would draw the same parameters again."""
    sampler = {"_target_": f"optuna.samplers.{kind}", "seed": 0}
    sweep = changed(random_sweep(9, x=1), sampler=sampler)
    values = [first_value(sweep, number) for number in range(5)]
    assert len(set(values)) == 5
    assert values == [first_value(sweep, number) for number in range(5)]
    other = changed(sweep, sampler={**sampler, "seed": 1})
    assert first_value(other, 0) not in values


def test_sampler_inside_another_one_has_another_seed_too() -> None:
    nested = {"_target_": "optuna.samplers.RandomSampler", "seed": 0}
    outer = {"_target_": "optuna.samplers.PartialFixedSampler", "fixed_params": {}}
    sweep = changed(random_sweep(9, x=1), sampler={**outer, "base_sampler": nested})
    assert first_value(sweep, 0) != first_value(sweep, 1)


def test_random_sampler_uses_the_seed_of_the_sweep() -> None:
    sweep = random_sweep(9, x=1)
    values = [
        optuna.create_study(sampler=random_sampler(sweep, number)).ask().suggest_float("x", 0, 1)
        for number in (0, 1, 0)
    ]
    assert values[0] == values[2] != values[1]


def test_sampler_and_pruner_are_made_of_their_settings() -> None:
    pruner = {"_target_": "optuna.pruners.NopPruner"}
    sampler, made = make_strategy(changed(random_sweep(9, x=1), pruner=pruner), 0)
    assert isinstance(sampler, RandomSampler)
    assert isinstance(made, NopPruner)


@pytest.mark.parametrize(
    ("section", "settings", "message"),
    [
        ("sampler", {"_target_": "optuna.pruners.NopPruner"}, "NopPruner is not .*sampler"),
        ("pruner", {"_target_": "optuna.samplers.RandomSampler"}, "RandomSampler is not .*pruner"),
        ("sampler", {"_target_": "optuna.samplers.RandomSampler", "sed": 0}, "sed"),
        ("pruner", {"_target_": "optuna.pruners.NoPruner"}, "NoPruner"),
    ],
)
def test_wrong_sampler_or_pruner_is_one_line(
    section: str, settings: dict[str, Any], message: str
) -> None:
    changes: dict[str, Any] = {section: settings}
    with pytest.raises(UserError, match=rf"^sweep\.{section}: .*{message}") as error:
        make_strategy(changed(random_sweep(9, x=1), **changes), 0)
    assert "\n" not in str(error.value)
