"""The trials of a study: their attributes, their states, and which are finished or discarded.

A trial is finished when it has ended: complete, pruned or failed. A discarded trial is never
counted. A trial is discarded if its worker died and its parameters were queued again, if an earlier
trial has the same parameters, or if its parameters could not be chosen.
"""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import fmean
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from pipeline.config.schema import Sweep
from pipeline.sweeps.space import SEED, Params, Space

# The names of user attributes.
DISCARDED = "discarded"  # why the trial was discarded
FAILURE = "failure"  # why the trial failed
OVERRIDES = "overrides"  # the overrides that its parameters give
RUN = "run"  # the id of its MLflow run; a trial has none if the store did not answer
HISTORY = "history"  # the metrics of its epochs
HOST = "host"  # the machine that runs it
PROCESS = "process"  # the id of the process that runs it
WEIGHTS = "weights"  # how many weights and biases the network of a complete trial has
THREADS = "threads"  # number of TensorFlow threads
PROCESSOR = "processor"  # the name of the processor; trials of earlier versions have none
QUEUED_PARAMS = "queued parameters"  # the parameters that it was queued with
STARTING_POINT = "starting point"  # True: it is of sweep.enqueue, and is not pruned
TAKEN_OVER = "taken over"  # the trial of another study that it is
REQUEUED = "requeued"  # the number of the stale trial whose parameters it has
DEATHS = "deaths"  # how many workers died while they ran these parameters
SETTINGS = "settings"  # of the study: the settings that it was started with

WORKER_DIED = "its worker died"
_MIN_FAILURES = 3  # with fewer failures, it is too early to judge their share


def finished_trials(study: optuna.Study, running: bool = False) -> list[FrozenTrial]:
    """The trials that have ended, except discarded ones; with `running`, also running trials."""
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if not is_discarded(trial)
        and (trial.state.is_finished() or (running and trial.state == TrialState.RUNNING))
    ]


def complete_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that ended with a value."""
    return [trial for trial in finished_trials(study) if trial.state == TrialState.COMPLETE]


def sized_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The complete trials that have a number of weights; those of earlier versions have none."""
    return [trial for trial in complete_trials(study) if WEIGHTS in trial.user_attrs]


def failed_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that failed, except discarded ones."""
    return [trial for trial in finished_trials(study) if trial.state == TrialState.FAIL]


def taken_over_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that came from the study of `sweep.from`."""
    return [trial for trial in complete_trials(study) if TAKEN_OVER in trial.user_attrs]


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """The trial with the best metric, the first of equal ones; None if no trial is complete.

    If the weights are an objective too, it is the smallest network of equal ones.
    """
    if is_two_objective(study):
        front = pareto_front(study)
        return front[-1] if front else None
    try:
        return study.best_trial
    except ValueError:
        return None


def pareto_front(study: optuna.Study) -> list[FrozenTrial]:
    """The complete trials that are better than every smaller network, the smallest network first.

    Of networks of equal size, the best is in it; of equal trials, the first.
    """
    sign = 1 if is_maximized(study) else -1
    trials = sized_trials(study)
    front: list[FrozenTrial] = []
    for trial in sorted(trials, key=lambda t: (weights_of(t), -sign * value_of(t), t.number)):
        if not front or sign * value_of(trial) > sign * value_of(front[-1]):
            front.append(trial)
    return front


def replicates_by_mean(study: optuna.Study) -> list[list[FrozenTrial]]:
    """The complete trials grouped by all parameters but the seed; the best mean comes first."""
    groups: dict[Sequence[Any], list[FrozenTrial]] = {}
    for trial in complete_trials(study):
        others = {name: value for name, value in trial.params.items() if name != SEED}
        groups.setdefault(params_key(others), []).append(trial)
    return sorted(groups.values(), key=mean_value, reverse=is_maximized(study))


def is_maximized(study: optuna.Study) -> bool:
    """Whether a larger value of the metric is better."""
    return study.directions[0] == StudyDirection.MAXIMIZE


def is_two_objective(study: optuna.Study) -> bool:
    """Whether the number of weights is an objective, as well as the metric."""
    return len(study.directions) == 2


def value_of(trial: FrozenTrial) -> float:
    """The value of a complete trial: the sweep's metric."""
    return float(trial.values[0])


def weights_of(trial: FrozenTrial) -> int:
    """How many weights and biases the network of a complete trial has."""
    return int(trial.user_attrs[WEIGHTS])


def epochs_of(trial: FrozenTrial) -> int | None:
    """After how many epochs a trial ended; None if after none.

    Optuna keeps no values of epochs if there are two objectives.
    """
    return trial.last_step or len(trial.user_attrs.get(HISTORY, [])) or None


def mean_value(trials: Sequence[FrozenTrial]) -> float:
    """The mean of the values of complete trials."""
    return fmean(map(value_of, trials))


def total_trials(study: optuna.Study, space: Space, sweep: Sweep) -> int:
    """The number of trials, with those taken over from another study.

    It is `sweep.trials` and those taken over, or fewer if the space or a grid is smaller.
    """
    grid = sweep.sampler.get("search_space", {})  # GridSampler's
    sizes = [len(space.combinations or ()), math.prod(map(len, grid.values())) if grid else 0]
    return min([sweep.trials + len(taken_over_trials(study)), *filter(None, sizes)])


def too_many_failures(study: optuna.Study, space: Space, sweep: Sweep) -> bool:
    """Whether more than `sweep.max_failed_fraction` of the trials have failed."""
    failures, ended = len(failed_trials(study)), len(finished_trials(study))
    few = failures < _MIN_FAILURES and ended < total_trials(study, space, sweep)
    too_early = few and sweep.max_failed_fraction
    return not too_early and failures > sweep.max_failed_fraction * ended


def reason_to_stop(study: optuna.Study, sweep: Sweep) -> str:
    """Why no other trial should start, of `sweep.timeout` and `sweep.patience`; "" to go on.

    It depends on the trials alone, so it is the same when a sweep is resumed.
    """
    if sweep.timeout is not None and minutes_of_trials(study) >= sweep.timeout:
        return f"ended by sweep.timeout: trials have run for {sweep.timeout:g} minutes"
    if sweep.patience is not None and (best := _last_improvement(study)):
        ended = end_of(best)
        later = [trial for trial in finished_trials(study) if end_of(trial) > ended]
        if len(later) >= sweep.patience:
            trials = f"the {len(later)} trials that ended after trial {best.number}"
            return f"ended by sweep.patience: {trials} are no better"
    return ""


def _last_improvement(study: optuna.Study) -> FrozenTrial | None:
    """The best trial; of two objectives, the one of the front that ended last."""
    if is_two_objective(study):
        return max(pareto_front(study), key=end_of, default=None)
    return best_trial(study)


def end_of(trial: FrozenTrial) -> datetime:
    """When a trial ended; the earliest time for one that is running."""
    return trial.datetime_complete or datetime.min


def minutes_of_trials(study: optuna.Study) -> float:
    """The time, in minutes, in which at least one trial ran.

    A trial of another study does not count. Nor does a discarded trial: Optuna has the time at
    which another worker discarded it, which may be much later.
    """
    now = datetime.now()
    ran = [
        (trial.datetime_start, trial.datetime_complete or now)
        for trial in finished_trials(study, running=True)
        if trial.datetime_start and TAKEN_OVER not in trial.user_attrs
    ]
    total, end = timedelta(), datetime.min
    for start, stop in sorted(ran):
        total += max(stop - max(start, end), timedelta())
        end = max(end, stop)
    return total.total_seconds() / 60


def is_discarded(trial: FrozenTrial) -> bool:
    """Whether a trial was discarded."""
    return DISCARDED in trial.user_attrs


def params_of(trial: FrozenTrial) -> Params:
    """The parameters of a trial, including those that a waiting trial was queued with."""
    return {**trial.user_attrs.get(QUEUED_PARAMS, {}), **trial.params}


def params_key(params: Params) -> Sequence[Any]:
    """A key that is equal for equal parameters; rounding errors of floats are ignored."""
    rounded = {k: f"{v:.12g}" if isinstance(v, float) else v for k, v in params.items()}
    return tuple(sorted(rounded.items()))
