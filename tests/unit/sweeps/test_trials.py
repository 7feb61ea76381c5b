import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from pipeline.sweeps.parsing import parse_space
from pipeline.sweeps.storage import Store
from pipeline.sweeps.study import ask_trial
from pipeline.sweeps.trials import (
    DISCARDED,
    QUEUED_PARAMS,
    best_trial,
    complete_trials,
    failed_trials,
    finished_trials,
    is_discarded,
    params_key,
    params_of,
    too_many_failures,
)
from tests.helpers.configs import changed
from tests.helpers.studies import random_sweep


def test_sweep_stops_when_too_large_a_share_of_its_trials_fails(store: Store) -> None:
    sweep = changed(random_sweep(20, **{"train.epochs": "range(1, 30)"}), max_failed_fraction=0.5)
    study = store.open()
    for failures in range(1, 4):
        assert not too_many_failures(study, parse_space(sweep), sweep)
        trial = ask_trial(study, parse_space(sweep), sweep)
        assert trial is not None, failures
        study.tell(trial, state=TrialState.FAIL)
    assert too_many_failures(study, parse_space(sweep), sweep)
    assert ask_trial(study, parse_space(sweep), sweep) is None
    assert not too_many_failures(study, parse_space(sweep), changed(sweep, max_failed_fraction=1.0))


def test_few_failures_stop_a_sweep_that_allows_none_or_has_ended(store: Store) -> None:
    sweep = changed(random_sweep(2, **{"train.epochs": "range(1, 30)"}), max_failed_fraction=0.5)
    study = store.open()
    for ended in range(3):
        assert too_many_failures(
            study, parse_space(sweep), changed(sweep, max_failed_fraction=0.0)
        ) == (ended > 0)
        assert too_many_failures(study, parse_space(sweep), sweep) == (ended == 2)
        if trial := ask_trial(study, parse_space(sweep), sweep):
            study.tell(trial, state=TrialState.FAIL)


def test_few_failures_are_too_many_when_a_small_space_has_no_more_trials(store: Store) -> None:
    sweep = changed(random_sweep(20, **{"model": "choice(mlp, cnn)"}), max_failed_fraction=0.5)
    study, space = store.open(), parse_space(sweep)
    for _ in range(2):
        trial = ask_trial(study, space, sweep)
        assert trial is not None
        study.tell(trial, state=TrialState.FAIL)
    assert too_many_failures(study, parse_space(sweep), sweep)


@pytest.fixture
def mixed(store: Store) -> Store:
    """A study with a trial in each state; the discarded one comes last."""
    study = store.open()
    complete, better, pruned, failed, _running, discarded = (study.ask() for _ in range(6))
    study.tell(complete, 0.5)
    study.tell(better, 0.75)
    pruned.report(0.9, 1)
    study.tell(pruned, state=TrialState.PRUNED)
    study.tell(failed, state=TrialState.FAIL)
    discarded.set_user_attr(DISCARDED, "its worker died")
    study.tell(discarded, state=TrialState.FAIL)
    return store


def test_trials_are_counted_by_their_state(mixed: Store) -> None:
    study = mixed.open()
    assert [trial.number for trial in finished_trials(study)] == [0, 1, 2, 3]
    assert [trial.number for trial in finished_trials(study, running=True)] == [0, 1, 2, 3, 4]
    assert [trial.number for trial in complete_trials(study)] == [0, 1]
    assert [trial.number for trial in failed_trials(study)] == [3]
    assert [is_discarded(trial) for trial in study.trials] == [False] * 5 + [True]


def test_best_trial_is_a_complete_one(mixed: Store, store: Store) -> None:
    best = best_trial(mixed.open())
    assert best is not None
    assert best.number == 1


def test_study_without_a_complete_trial_has_no_best_one(store: Store) -> None:
    study = store.open()
    assert best_trial(study) is None
    study.tell(study.ask(), state=TrialState.FAIL)
    assert best_trial(study) is None


def test_parameters_include_those_that_a_waiting_trial_was_queued_with() -> None:
    trial = create_trial(
        state=TrialState.WAITING,
        params={"a": 0.5},
        distributions={"a": FloatDistribution(0, 1)},
        user_attrs={QUEUED_PARAMS: {"a": 0.25, "b": "text"}},
    )
    assert params_of(trial) == {"a": 0.5, "b": "text"}


def test_keys_are_equal_for_equal_parameters() -> None:
    assert params_key({"a": 0.1 + 0.2, "b": None}) == params_key({"b": None, "a": 0.3})
    assert params_key({"a": 0.3}) != params_key({"a": 0.3001})
    assert params_key({"a": 1}) != params_key({"b": 1})
