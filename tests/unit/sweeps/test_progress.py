import time
from datetime import datetime, timedelta
from typing import Any

import pytest
from optuna.distributions import IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from pipeline.sweeps.parsing import parse_space
from pipeline.sweeps.progress import fitting, short_number, show_progress, trial_line
from pipeline.sweeps.storage import Store
from pipeline.sweeps.study import ask_trial
from pipeline.sweeps.trials import DISCARDED, FAILURE, OVERRIDES
from tests.helpers.studies import random_sweep, run_trials

START = datetime(2020, 1, 1)
OVERRIDDEN = ["model=mlp", "train.epochs=3"]


def trial(state: TrialState, seconds: float = 2.25, **values: Any) -> FrozenTrial:
    """A trial that has ended."""
    ended = create_trial(
        state=state,
        params={"train.epochs": 3},
        distributions={"train.epochs": IntDistribution(1, 9)},
        **{"user_attrs": {OVERRIDES: OVERRIDDEN}, **values},
    )
    ended.number = 7
    ended.datetime_start = START
    ended.datetime_complete = START + timedelta(seconds=seconds)
    return ended


def test_line_of_a_complete_trial_has_its_value() -> None:
    line = trial_line(trial(TrialState.COMPLETE, value=0.123456), "val_loss")
    assert line == "trial 7: val_loss 0.1235, 2.2 s: model=mlp train.epochs=3"


def test_line_of_a_pruned_trial_has_its_last_epoch() -> None:
    pruned = trial(TrialState.PRUNED, intermediate_values={1: 0.5, 2: 0.6})
    assert trial_line(pruned, "val_loss") == (
        "trial 7: pruned after epoch 2, 2.2 s: model=mlp train.epochs=3"
    )


def test_line_of_a_failed_trial_has_the_reason() -> None:
    attributes = {OVERRIDES: OVERRIDDEN, FAILURE: "the loss is nan"}
    failed = trial(TrialState.FAIL, user_attrs=attributes)
    assert trial_line(failed, "val_loss") == (
        "trial 7: failed, the loss is nan, 2.2 s: model=mlp train.epochs=3"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.99175, "0.9918"), (-12.5, "-12.5000"), (538450082111235705625682903040.0, "5.385e+29")],
)
def test_diverged_loss_is_shown_with_four_digits(value: float, text: str) -> None:
    assert short_number(value) == text


@pytest.mark.parametrize(
    ("room", "shown"),
    [
        (44, ["best 0.9625 (trial 13)", "13 pruned", "2 running"]),
        (43, ["best 0.9625 (trial 13)", "13 pruned"]),
        (33, ["best 0.9625 (trial 13)", "13 pruned"]),
        (32, ["best 0.9625 (trial 13)"]),
        (5, []),
    ],
)
def test_narrow_terminal_shows_whole_words(room: int, shown: list[str]) -> None:
    """At 60 columns the bar ended in "13 pr"."""
    assert fitting(["best 0.9625 (trial 13)", "13 pruned", "2 running"], room) == shown


def test_each_ended_trial_has_one_line(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Except those that had ended before, run still, or are discarded."""
    epochs = {"train.epochs": "range(1, 9)"}
    run_trials(store, random_sweep(2, **epochs))
    sweep = random_sweep(9, **epochs)
    study = store.open()
    with show_progress(store, sweep, total=9):
        run_trials(store, random_sweep(4, **epochs))
        assert ask_trial(study, parse_space(sweep), sweep) is not None
        discarded = ask_trial(study, parse_space(sweep), sweep)
        assert discarded is not None
        discarded.set_user_attr(DISCARDED, "a test")
        study.tell(discarded, state=TrialState.FAIL)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["trial 2", "trial 3"]


@pytest.mark.slow
def test_line_is_printed_while_the_block_runs(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = random_sweep(1, **{"train.epochs": "range(1, 9)"})
    with show_progress(store, sweep, total=1):
        run_trials(store, sweep)
        printed = ""
        for _ in range(100):
            if printed := capsys.readouterr().out:
                break
            time.sleep(0.1)
        assert printed.startswith(f"trial 0: {sweep.metric} ")
