"""Who begins which trial, with real processes on a real journal; nothing is trained."""

import multiprocessing
import os
import random
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from pipeline.config.composition import compose_sweep
from pipeline.config.schema import Sweep
from pipeline.sweeps.parsing import parse_space
from pipeline.sweeps.preflight import dry_run
from pipeline.sweeps.storage import Store, user_errors
from pipeline.sweeps.study import ask_trial, requeue_stale
from pipeline.sweeps.trials import (
    DISCARDED,
    FAILURE,
    WORKER_DIED,
    finished_trials,
    too_many_failures,
)
from pipeline.system.errors import UserError
from tests.helpers.configs import changed

PROCESSES = multiprocessing.get_context("spawn")


def sweep(trials: int, **params: Any) -> Sweep:
    default = compose_sweep().sweep
    sampler = {"_target_": "optuna.samplers.RandomSampler", "seed": 0}
    return changed(default, trials=trials, params=params, sampler=sampler)


def run(store: Store, given: Sweep, die: float = 0.0, seed: int = 0) -> None:
    """Claim trials and complete them until there are enough; die now and then in the middle."""
    moments = random.Random(seed)
    opened = store.open()
    while trial := ask_trial(opened, parse_space(given), given):
        time.sleep(moments.uniform(0, 0.02))
        if moments.random() < die:
            os._exit(9)
        opened.tell(trial, sum(float(value) for value in trial.params.values()))


def run_all(store: Store, given: Sweep, workers: int, die: float = 0.0) -> list[int | None]:
    processes = [PROCESSES.Process(target=run, args=(store, given, die, n)) for n in range(workers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "study", "study")
    store.create("maximize")
    return store


def params(store: Store) -> list[tuple[Any, ...]]:
    """Those of the trials that count."""
    return [tuple(sorted(trial.params.items())) for trial in finished_trials(store.open())]


@pytest.mark.slow
def test_workers_end_with_exactly_the_trials_and_repeat_none(store: Store) -> None:
    given = sweep(30, **{"train.epochs": "range(1, 7)", "model.units": "range(1, 6)"})
    assert run_all(store, given, 4) == [0] * 4
    assert len(set(params(store))) == len(params(store)) == 30, "all that there is, once"
    assert len(run_all(store, changed(given, trials=40), 1)) == 1
    assert len(params(store)) == 30, "a finite space has no more"


@pytest.mark.slow
def test_dying_workers_lose_no_trial_and_repeat_none(store: Store) -> None:
    given = sweep(25, **{"optimizer.learning_rate": "tag(log, interval(1e-4, 1e-1))"})
    rounds = 0
    while len(finished_trials(store.open())) < 25:
        run_all(store, given, 3, die=0.4)  # each dies in its second trial
        rounds += 1
        assert rounds < 40
    trials = store.open().get_trials()
    assert len(set(params(store))) == len(params(store)) == 25
    lost = [trial for trial in trials if trial.user_attrs.get(DISCARDED) == "its worker died"]
    assert len(lost) > 3
    again = Counter(trial.user_attrs.get("requeued") for trial in trials)
    for trial in lost:
        assert again[trial.number] == 1
        [heir] = [t for t in trials if t.user_attrs.get("requeued") == trial.number]
        assert heir.params == trial.params
    assert {trial.state for trial in finished_trials(store.open())} == {TrialState.COMPLETE}


@pytest.mark.slow
def test_trial_that_kills_its_process_each_time_fails(store: Store) -> None:
    given = sweep(1, **{"train.epochs": "range(1, 3)"})
    for _ in range(11):
        assert run_all(store, given, 1, die=1.0) == [9]
    assert run_all(store, given, 1) == [0]
    [trial] = finished_trials(store.open())
    assert trial.state == TrialState.FAIL
    assert "died 11 times" in trial.user_attrs[FAILURE]


def test_running_trial_is_stale_once_its_worker_has_released_it(store: Store) -> None:
    given = sweep(1, **{"train.epochs": "range(1, 3)"})
    space = parse_space(given)
    study = store.open()
    trial = ask_trial(study, space, given)
    assert trial is not None
    requeue_stale(store.open())
    assert study.trials[0].state == TrialState.RUNNING, "this process holds its lock"
    study.release(trial)
    again = ask_trial(study, space, given)
    assert again is not None
    assert again.params == trial.params
    assert study.trials[0].user_attrs[DISCARDED] == WORKER_DIED


def test_database_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    away = Store(tmp_path, "study", "postgresql://127.0.0.1:1/none")
    with pytest.raises(UserError, match=r"^launcher.storage: .+") as raised, user_errors():
        away.create("minimize")
    assert "\n" not in str(raised.value)


def test_line_that_the_power_failed_in_is_taken_off(store: Store) -> None:
    run(store, sweep(2, **{"train.epochs": "range(1, 9)"}))
    with (store.folder / "journal").open("a") as journal:
        journal.write('{"op_code":6,"work')
    assert len(store.create("maximize").trials) == 2
    run(store, sweep(3, **{"train.epochs": "range(1, 9)"}))
    assert len(params(store)) == 3


def test_search_is_hopeless_once_too_large_a_share_fails(store: Store) -> None:
    given = changed(sweep(20, **{"train.epochs": "range(1, 30)"}), max_failed_fraction=0.5)
    opened = store.open()
    for failures in range(1, 4):
        assert not too_many_failures(opened, given)
        trial = ask_trial(opened, parse_space(given), given)
        assert trial is not None, failures
        opened.tell(trial, state=TrialState.FAIL)
    assert too_many_failures(opened, given)
    assert ask_trial(opened, parse_space(given), given) is None
    assert not too_many_failures(opened, changed(given, max_failed_fraction=1.0))


def test_failures_count_at_once_where_none_is_allowed_or_all_are_over(store: Store) -> None:
    given = changed(sweep(2, **{"train.epochs": "range(1, 30)"}), max_failed_fraction=0.5)
    opened = store.open()
    for ended in range(3):
        assert too_many_failures(opened, changed(given, max_failed_fraction=0.0)) == (ended > 0)
        assert too_many_failures(opened, given) == (ended == 2)
        if trial := ask_trial(opened, parse_space(given), given):
            opened.tell(trial, state=TrialState.FAIL)


TPE = {"_target_": "optuna.samplers.TPESampler", "seed": 0, "n_startup_trials": 8}


def test_endless_space_with_a_branch_that_has_an_end(store: Store) -> None:
    """The best is one single combination: what follows is not to be waited for."""
    varied = {
        "optimizer": "choice(adam, sgd)",
        "optimizer.momentum": {"when": "optimizer=sgd", "space": "interval(0.0, 0.2)"},
    }
    given = changed(sweep(25, **varied), sampler=TPE)
    opened = store.open()
    while trial := ask_trial(opened, parse_space(given), given):
        opened.tell(trial, 1.0 if trial.params["optimizer"] == "adam" else 0.1)
    assert len(set(params(store))) == 25
    assert len(opened.trials) < 250


def test_trial_without_parameters_is_nobodys(store: Store) -> None:
    opened = store.open()
    for choices in ("choice(1, 2)", "choice(1, 3)"):
        given = sweep(2, **{"train.epochs": choices})
        with nullcontext() if "2" in choices else pytest.raises(ValueError, match="value space"):
            ask_trial(opened, parse_space(given), given)
    assert DISCARDED in opened.trials[-1].user_attrs
    assert opened.trials[-1].state == TrialState.FAIL


@pytest.mark.parametrize("kind", ["QMCSampler", "PartialFixedSampler"])
@pytest.mark.filterwarnings("ignore")
def test_parameters_of_some_trials_vary(store: Store, kind: str) -> None:
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
    given = sweep(16, **varied)
    given = changed(given, sampler={"_target_": f"optuna.samplers.{kind}", **sampler})
    opened = store.open()
    while trial := ask_trial(opened, parse_space(given), given):
        opened.tell(trial, 0.0)
    trials = [trial.params for trial in finished_trials(opened)]
    dropout = [params["model.dropout"] for params in trials if params["model"] == "mlp"]
    assert len(trials) == 16
    assert len(set(dropout)) == len(dropout) > 2


def test_grid_ends_a_search(store: Store) -> None:
    grid = {"optimizer.learning_rate": [0.001, 0.01, 0.1]}
    given = sweep(9, **{"optimizer.learning_rate": "tag(log, interval(1e-4, 1e-1))"})
    sampler = {"_target_": "optuna.samplers.GridSampler", "search_space": grid, "seed": 0}
    run(store, changed(given, sampler=sampler))
    assert sorted(params(store)) == [(("optimizer.learning_rate", x),) for x in (0.001, 0.01, 0.1)]


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        ({"_target_": "optuna.samplers.BruteForceSampler", "seed": 0}, "step must be given"),
        (
            {"_target_": "optuna.samplers.GridSampler", "search_space": {"train.epochs": [1]}},
            "not found in the given grid",
        ),
        ({"_target_": "optuna.samplers.CmaEsSampler", "n_startup_trials": 4}, "cmaes"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_sampler_that_cannot_serve_is_refused_before_the_first_trial(
    sampler: dict[str, Any], message: str
) -> None:
    space_of = {"optimizer.learning_rate": "tag(log, interval(1e-4, 1e-1))", "model.dropout": "0.1"}
    given = changed(sweep(9, **space_of), sampler=sampler)
    with pytest.raises(UserError, match=f"^sweep.sampler: .*{message}"):
        dry_run(parse_space(given), given)
    dry_run(parse_space(given), changed(given, sampler=TPE))


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
def test_sampler_repeats_nothing(store: Store, sampler: dict[str, Any]) -> None:
    given = changed(sweep(8, **{"train.epochs": "range(1, 9)"}), sampler=sampler)
    run(store, changed(given, trials=4))
    run(store, given)
    assert sorted(params(store)) == [(("train.epochs", n),) for n in range(1, 9)]
