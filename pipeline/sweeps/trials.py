"""What the trials of a study say: attributes, states, and which of them count.

A trial counts once it has ended, whether complete, pruned or failed. A discarded trial does not
count: its worker died and another trial has its parameters, or another trial had them before.
"""

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from pipeline.config.schema import Sweep
from pipeline.sweeps.space import Params

# The names of user attributes.
DISCARDED = "discarded"  # why the trial does not count
FAILURE = "failure"  # why it failed
OVERRIDES = "overrides"  # of the configuration that it trains
HISTORY = "history"  # what its epochs measured
THREADS = "threads"  # of TensorFlow
QUEUED_PARAMS = "queued parameters"  # those that it was queued with
REQUEUED = "requeued"  # the number of the stale trial whose parameters it has
DEATHS = "deaths"  # how many workers died while they ran these parameters

WORKER_DIED = "its worker died"
_MIN_FAILURES = 3  # fewer failures than this say nothing about the share of failures


def finished_trials(study: optuna.Study, running: bool = False) -> list[FrozenTrial]:
    """The trials that have ended and count; with `running` also those that run now."""
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if not is_discarded(trial)
        and (trial.state.is_finished() or (running and trial.state == TrialState.RUNNING))
    ]


def complete_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that ended with a value."""
    return [trial for trial in finished_trials(study) if trial.state == TrialState.COMPLETE]


def failed_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that failed by themselves."""
    return [trial for trial in finished_trials(study) if trial.state == TrialState.FAIL]


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """The best trial; None when none is complete."""
    try:
        return study.best_trial
    except ValueError:
        return None


def too_many_failures(study: optuna.Study, sweep: Sweep) -> bool:
    """Whether more than `sweep.max_failed_fraction` of the trials have failed."""
    failures, ended = len(failed_trials(study)), len(finished_trials(study))
    too_early = failures < _MIN_FAILURES and ended < sweep.trials and sweep.max_failed_fraction
    return not too_early and failures > sweep.max_failed_fraction * ended


def is_discarded(trial: FrozenTrial) -> bool:
    """Whether a trial does not count."""
    return DISCARDED in trial.user_attrs


def params_of(trial: FrozenTrial) -> Params:
    """The parameters of a trial, including those that a waiting trial was queued with."""
    return {**trial.user_attrs.get(QUEUED_PARAMS, {}), **trial.params}


def params_key(params: Params) -> Sequence[Any]:
    """A key that is equal for equal parameters, whichever way steps of 0.1 were added up."""
    rounded = {k: f"{v:.12g}" if isinstance(v, float) else v for k, v in params.items()}
    return tuple(sorted(rounded.items()))
