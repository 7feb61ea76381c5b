"""Studies whose trials train nothing, in this process or in several."""

import multiprocessing
import os
import random
import time
from collections.abc import Sequence
from typing import Any

from pipeline.config.composition import compose_sweep
from pipeline.config.schema import Direction, Sweep
from pipeline.sweeps.parsing import parse_space
from pipeline.sweeps.storage import Store, Study
from pipeline.sweeps.study import ask_trial
from pipeline.sweeps.trials import OVERRIDES, WEIGHTS, finished_trials
from tests.helpers.configs import changed

PROCESSES = multiprocessing.get_context("spawn")
RANDOM = {"_target_": "optuna.samplers.RandomSampler", "seed": 0}
TPE = {"_target_": "optuna.samplers.TPESampler", "seed": 0, "n_startup_trials": 8}


def random_sweep(trials: int, **params: Any) -> Sweep:
    """The default sweep with other parameters, which are drawn at random."""
    return changed(compose_sweep().sweep, trials=trials, params=params, sampler=RANDOM)


def run_trials(store: Store, sweep: Sweep, death_rate: float = 0.0, seed: int = 0) -> None:
    """Ask for trials and complete them until there are enough.

    Args:
        store: of the study.
        sweep: its settings.
        death_rate: how often this process dies within a trial, from 0 to 1.
        seed: of the durations and the deaths.
    """
    rng = random.Random(seed)
    study = store.open()
    while trial := ask_trial(study, parse_space(sweep), sweep):
        time.sleep(rng.uniform(0, 0.02))
        if rng.random() < death_rate:
            os._exit(9)
        study.tell(trial, sum(float(value) for value in trial.params.values()))


def run_workers(
    store: Store, sweep: Sweep, workers: int, death_rate: float = 0.0
) -> list[int | None]:
    """Run trials in several processes; return their exit codes."""
    processes = [
        PROCESSES.Process(target=run_trials, args=(store, sweep, death_rate, seed))
        for seed in range(workers)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def study_of(store: Store, directions: Sequence[Direction], *trials: tuple[int, float]) -> Study:
    """A study with complete trials: the weights and the metric of each.

    Args:
        store: where it is kept.
        directions: of its objectives, the metric and perhaps the weights.
        trials: in the order of their numbers.
    """
    study = store.create(*directions)
    for weights, value in trials:
        trial = study.ask()
        trial.set_user_attr(WEIGHTS, weights)
        trial.set_user_attr(OVERRIDES, [])
        study.tell(trial, [value, weights][: len(directions)])
    return study


def finished_params(store: Store) -> list[tuple[Any, ...]]:
    """The parameters of the trials that have ended and count."""
    return [tuple(sorted(trial.params.items())) for trial in finished_trials(store.open())]
