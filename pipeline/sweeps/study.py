"""Assign trials to workers: start the next trial, and requeue trials whose worker died.

Each decision is made under the study's lock. So any number of workers together run exactly the
requested number of trials.
"""

import time
from contextlib import suppress
from functools import partial

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from pipeline.config.schema import Sweep
from pipeline.sweeps.samplers import make_strategy, random_sampler
from pipeline.sweeps.space import Parameter, Space
from pipeline.sweeps.storage import Study
from pipeline.sweeps.trials import (
    DEATHS,
    DISCARDED,
    FAILURE,
    OVERRIDES,
    QUEUED_PARAMS,
    REQUEUED,
    STARTING_POINT,
    WORKER_DIED,
    finished_trials,
    is_discarded,
    params_key,
    params_of,
    reason_to_stop,
    too_many_failures,
    total_trials,
)

_MAX_DEATHS = 10  # workers that may die while they run the same parameters
_MAX_REPEATED = 3  # consecutive suggestions that were tried before; the next is drawn at random


def ask_trial(study: Study, space: Space, sweep: Sweep, session: str = "") -> optuna.Trial | None:
    """Start the next trial: choose its parameters and record its overrides.

    If other workers run the last trials, wait until those end, because a worker may die.

    Args:
        study: the study.
        space: the parameters of the sweep.
        sweep: the settings of the sweep.
        session: the id of the worker's session.

    Returns:
        None if enough trials have ended, too many have failed, no more should start (see
        `reason_to_stop`), or the session was interrupted.
    """
    while not study.is_stopped(session):
        with study.store.lock:
            requeue_stale(study)
            enough = len(finished_trials(study)) >= total_trials(study, space, sweep)
            if enough or too_many_failures(study, space, sweep) or reason_to_stop(study, sweep):
                return None
            if trial := _start_trial(study, space, sweep):
                return trial
        time.sleep(1)
    return None


def requeue_stale(study: Study) -> None:
    """Discard the stale trials, whose worker died, and queue the parameters of each once.

    If too many workers have died with the same parameters, the trial fails instead.

    Call it under the study's lock. A trial also starts and takes its own lock under the study's
    lock, so a running trial whose lock is free has lost its worker.
    """
    queued = {trial.user_attrs.get(REQUEUED) for trial in study.get_trials(deepcopy=False)}
    for trial in study.stale():
        deaths = trial.user_attrs.get(DEATHS, 0) + 1
        with suppress(UpdateFinishedTrialError):  # it has just ended
            if deaths > _MAX_DEATHS:
                reason = f"the worker process died {deaths} times; it may be out of memory"
                study.set_attribute(trial, FAILURE, reason)
            else:
                params = params_of(trial)
                # Queue first, then discard: a kill between the two loses nothing.
                if params and trial.number not in queued:
                    attributes = {QUEUED_PARAMS: params, REQUEUED: trial.number, DEATHS: deaths}
                    if STARTING_POINT in trial.user_attrs:
                        attributes[STARTING_POINT] = True
                    study.enqueue_trial(params, user_attrs=attributes)
                study.set_attribute(trial, DISCARDED, WORKER_DIED)
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)


def _start_trial(study: Study, space: Space, sweep: Sweep) -> optuna.Trial | None:
    """Start a trial with new parameters; None when enough have ended or are running."""
    repeated = 0
    while len(finished_trials(study, running=True)) < total_trials(study, space, sweep):
        earlier = study.get_trials(deepcopy=False)
        started = sum(trial.state != TrialState.WAITING for trial in earlier)
        study.sampler, study.pruner = make_strategy(sweep, started)
        if repeated > _MAX_REPEATED:
            # A model-based sampler may suggest the same good values repeatedly.
            study.sampler = random_sampler(sweep, started)
        trial = study.start()
        try:
            overrides = space.overrides(partial(Parameter.suggest, trial=trial))
        except Exception:
            _discard(study, trial, "its parameters could not be chosen")
            raise
        others = (t for t in earlier if t.number != trial.number and not is_discarded(t))
        known = {params_key(params_of(t)) for t in others}
        if params_key(trial.params) not in known:
            trial.set_user_attr(OVERRIDES, overrides)
            return trial
        repeated += 1
        _discard(study, trial, "another trial has the same parameters")
        if space.combinations:
            untried = [p for p in space.combinations if params_key(p) not in known]
            params = untried[trial.number % len(untried)]
            study.enqueue_trial(params, user_attrs={QUEUED_PARAMS: params})
    return None


def _discard(study: Study, trial: optuna.Trial, reason: str) -> None:
    trial.set_user_attr(DISCARDED, reason)
    study.tell(trial, state=TrialState.FAIL)
    study.release(trial)
