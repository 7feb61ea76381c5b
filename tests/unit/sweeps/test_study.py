"""Which process runs which trial: real processes on a real journal, without training."""

from collections import Counter
from contextlib import nullcontext
from datetime import datetime, timedelta
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from pipeline.config.composition import compose_sweep
from pipeline.config.schema import Sweep
from pipeline.sweeps.parsing import parse_space
from pipeline.sweeps.storage import Store, Study
from pipeline.sweeps.study import ask_trial, requeue_stale
from pipeline.sweeps.trials import (
    DISCARDED,
    FAILURE,
    WORKER_DIED,
    finished_trials,
    minutes_of_trials,
    reason_to_stop,
    total_trials,
)
from tests.helpers.configs import changed
from tests.helpers.studies import (
    TPE,
    finished_params,
    random_sweep,
    run_trials,
    run_workers,
    study_of,
)


@pytest.mark.slow
def test_workers_end_with_exactly_the_requested_trials_and_repeat_none(store: Store) -> None:
    sweep = random_sweep(30, **{"train.epochs": "range(1, 7)", "model.units": "range(1, 6)"})
    assert run_workers(store, sweep, 4) == [0] * 4
    assert len(set(finished_params(store))) == len(finished_params(store)) == 30, (
        "all combinations, once each"
    )
    assert len(run_workers(store, changed(sweep, trials=40), 1)) == 1
    assert len(finished_params(store)) == 30, "a finite space has no more"


@pytest.mark.slow
def test_dying_workers_lose_no_trial_and_repeat_none(store: Store) -> None:
    sweep = random_sweep(25, **{"optimizer.learning_rate": "tag(log, interval(1e-4, 1e-1))"})
    rounds = 0
    while len(finished_trials(store.open())) < 25:
        run_workers(
            store, sweep, 3, death_rate=0.4
        )  # a worker dies in its second trial, on average
        rounds += 1
        assert rounds < 40
    trials = store.open().get_trials()
    assert len(set(finished_params(store))) == len(finished_params(store)) == 25
    stale = [trial for trial in trials if trial.user_attrs.get(DISCARDED) == "its worker died"]
    assert len(stale) > 3
    requeued = Counter(trial.user_attrs.get("requeued") for trial in trials)
    for trial in stale:
        assert requeued[trial.number] == 1
        [successor] = [t for t in trials if t.user_attrs.get("requeued") == trial.number]
        assert successor.params == trial.params
    assert {trial.state for trial in finished_trials(store.open())} == {TrialState.COMPLETE}


@pytest.mark.slow
def test_trial_fails_after_killing_its_worker_too_often(store: Store) -> None:
    sweep = random_sweep(1, **{"train.epochs": "range(1, 3)"})
    for _ in range(11):
        assert run_workers(store, sweep, 1, death_rate=1.0) == [9]
    assert run_workers(store, sweep, 1) == [0]
    [trial] = finished_trials(store.open())
    assert trial.state == TrialState.FAIL
    assert "died 11 times" in trial.user_attrs[FAILURE]


def test_trials_are_no_more_than_the_combinations(store: Store) -> None:
    sweep = compose_sweep(["sweep=seeds", "sweep.trials=100000"]).sweep
    space = parse_space(sweep)
    assert space.combinations is not None
    assert total_trials(store.open(), space, sweep) == len(space.combinations) < 100_000


def test_sweep_ends_when_trials_are_no_better(store: Store) -> None:
    sweep = random_sweep(90, **{"train.epochs": "range(1, 200)"})
    study, space = store.open(), parse_space(sweep)
    for value in (0.5, 0.9, 0.8, 0.7):
        study.tell(_asked(study, sweep), value)
    assert ask_trial(study, space, changed(sweep, patience=2)) is None
    reason = reason_to_stop(study, changed(sweep, patience=2))
    assert reason.endswith(": the 2 trials that ended after trial 1 are no better")
    study.tell(_asked(study, changed(sweep, patience=3)), 0.95)
    assert reason_to_stop(study, changed(sweep, patience=1)) == ""
    # A failed trial is no better.
    study.tell(_asked(study, changed(sweep, patience=1)), state=TrialState.FAIL)
    assert ask_trial(study, space, changed(sweep, patience=1)) is None


def test_sweep_of_two_objectives_ends_when_none_joins_the_front(tmp_path: Path) -> None:
    sweep = changed(random_sweep(9, **{"train.epochs": "range(1, 30)"}), also_minimize="weights")
    trials = [(30, 0.9), (10, 0.8), (40, 0.9), (40, 0.8)]  # the second is smaller, so it counts
    study = study_of(Store(tmp_path / "two", "two"), sweep.directions, *trials)
    assert reason_to_stop(study, changed(sweep, patience=3)) == ""
    reason = reason_to_stop(study, changed(sweep, patience=2))
    assert reason.endswith("the 2 trials that ended after trial 1 are no better")


@pytest.mark.slow
def test_tpe_learns_from_two_objectives(tmp_path: Path) -> None:
    """Small widths are better for both, so most of the later trials try them."""
    params = {"model.width": "range(1, 1000)"}
    sweep = changed(
        random_sweep(40, **params),
        sampler=TPE | {"constant_liar": True},
        pruner={"_target_": "optuna.pruners.NopPruner"},
        also_minimize="weights",
    )
    study = Store(tmp_path / "two", "two").create(*sweep.directions)
    while trial := ask_trial(study, parse_space(sweep), sweep):
        width = trial.params["model.width"]
        study.tell(trial, sweep.objectives(-float(width), width))
    widths = [trial.params["model.width"] for trial in finished_trials(study)]
    assert len(widths) == 40
    assert sum(widths[20:]) / 20 < 250


def _asked(study: Study, sweep: Sweep) -> optuna.Trial:
    trial = ask_trial(study, parse_space(sweep), sweep)
    assert trial is not None
    return trial


def test_sweep_ends_after_its_time_in_which_trials_ran(store: Store) -> None:
    """Parallel trials count once; pauses between sessions and lost trials do not count."""
    study = store.open()
    start = datetime(2020, 1, 1)
    for begin, end, attributes in (
        (0, 10, {}),
        (5, 15, {}),
        (6, 7, {}),
        (100, 105, {}),
        (20, 90, {DISCARDED: "its worker died"}),
    ):
        trial = optuna.trial.create_trial(value=0.5, user_attrs=attributes)
        trial.datetime_start = start + timedelta(minutes=begin)
        trial.datetime_complete = start + timedelta(minutes=end)
        study.add_trial(trial)
    assert minutes_of_trials(study) == 20
    sweep = random_sweep(90, **{"train.epochs": "range(1, 200)"})
    assert ask_trial(study, parse_space(sweep), changed(sweep, timeout=20)) is None
    assert "20 minutes" in reason_to_stop(study, changed(sweep, timeout=20))
    assert ask_trial(study, parse_space(sweep), changed(sweep, timeout=20.5))


def test_running_trial_is_stale_once_its_worker_has_released_it(store: Store) -> None:
    sweep = random_sweep(1, **{"train.epochs": "range(1, 3)"})
    space = parse_space(sweep)
    study = store.open()
    trial = ask_trial(study, space, sweep)
    assert trial is not None
    requeue_stale(store.open())
    assert study.trials[0].state == TrialState.RUNNING, "this process holds its lock"
    study.release(trial)
    restarted = ask_trial(study, space, sweep)
    assert restarted is not None
    assert restarted.params == trial.params
    assert study.trials[0].user_attrs[DISCARDED] == WORKER_DIED


@pytest.mark.slow
def test_infinite_space_with_a_finite_branch_is_sampled_to_the_end(store: Store) -> None:
    """The best branch has one combination: the sampler must not suggest it for ever."""
    varied = {
        "optimizer": "choice(adam, sgd)",
        "optimizer.momentum": {"when": "optimizer=sgd", "space": "interval(0.0, 0.2)"},
    }
    sweep = changed(random_sweep(25, **varied), sampler=TPE)
    study = store.open()
    while trial := ask_trial(study, parse_space(sweep), sweep):
        study.tell(trial, 1.0 if trial.params["optimizer"] == "adam" else 0.1)
    assert len(set(finished_params(store))) == 25
    assert len(study.trials) < 250


def test_trial_whose_parameters_cannot_be_chosen_is_discarded(store: Store) -> None:
    study = store.open()
    for choices in ("choice(1, 2)", "choice(1, 3)"):
        sweep = random_sweep(2, **{"train.epochs": choices})
        with nullcontext() if "2" in choices else pytest.raises(ValueError, match="value space"):
            ask_trial(study, parse_space(sweep), sweep)
    assert DISCARDED in study.trials[-1].user_attrs
    assert study.trials[-1].state == TrialState.FAIL


def test_sweep_ends_with_its_grid(store: Store) -> None:
    grid = {"optimizer.learning_rate": [0.001, 0.01, 0.1]}
    sweep = random_sweep(9, **{"optimizer.learning_rate": "tag(log, interval(1e-4, 1e-1))"})
    sampler = {"_target_": "optuna.samplers.GridSampler", "search_space": grid, "seed": 0}
    run_trials(store, changed(sweep, sampler=sampler))
    assert sorted(finished_params(store)) == [
        (("optimizer.learning_rate", x),) for x in (0.001, 0.01, 0.1)
    ]
