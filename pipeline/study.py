"""The Optuna study of a search: who may begin a trial, and what becomes of those that died.

A trial counts once it has ended, whether complete, pruned or failed. What is void does not: trials
whose process died, which begin again under another number with the same parameters, and trials that
were suggested parameters which another one has. All this is decided under one lock, so that any
number of workers end with exactly the trials that were asked for.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import optuna
from filelock import FileLock
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from pipeline import process
from pipeline.config import Sweep
from pipeline.space import Parameter, Params, Space

VOID = "void"  # why a trial does not count
FAILURE = "failure"  # why one failed
OVERRIDES = "overrides"  # what its parameters come to
HISTORY = "history"  # what its epochs measured
THREADS = "threads"  # of TensorFlow
_OWNER = "process"  # that runs it
_AGAIN = "requeued"  # the number of the trial whose parameters it has
_LOSSES = "losses"  # how often that went on
_MAX_LOSSES = 10  # processes that a trial's parameters may take with them
_MIN_FAILURES = 3  # before the share of failures says something
# These go by what they wrote into the study, under one seed.
_ONE_SEED = (optuna.samplers.GridSampler, optuna.samplers.QMCSampler)


class Study(optuna.Study):
    """Optuna's, without a loop of its own."""

    def stop(self) -> None:
        """Do nothing: samplers call it when all is tried; `claim` knows without."""

    def mark(self, trial: FrozenTrial, key: str, value: str) -> None:
        """Set an attribute of a trial that another process ran."""
        self._storage.set_trial_user_attr(trial._trial_id, key, value)


@dataclass(frozen=True)
class Store:
    """Where a study is kept, the lock of its trials beside it."""

    folder: Path
    name: str

    @property
    def lock(self) -> FileLock:
        """Held while trials begin."""
        return FileLock(self.folder / "trials.lock", is_singleton=True)

    def open(self) -> Study:
        """Open the study.

        Raises:
            KeyError: when there is none.
        """
        return Study(self.name, self._storage())

    def create(self, direction: Literal["minimize", "maximize"]) -> Study:
        """Open the study, or begin it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.lock:
            self._mend()
            storage = self._storage()
            optuna.create_study(
                study_name=self.name, storage=storage, direction=direction, load_if_exists=True
            )
        return Study(self.name, storage)

    def _storage(self) -> JournalStorage:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        return JournalStorage(JournalFileBackend(str(self._journal), self._journal_lock()))

    def _mend(self) -> None:
        """Take off the line that the power failed in the middle of."""
        if self._journal.exists():
            with self._journal_lock():
                content = self._journal.read_bytes()
                if not content.endswith(b"\n"):
                    os.truncate(self._journal, content.rfind(b"\n") + 1)

    @property
    def _journal(self) -> Path:
        return self.folder / "journal"

    def _journal_lock(self) -> Any:
        # The system frees this one when its holder dies; Optuna's own would be waited for.
        return FileLock(self.folder / "journal.lock")


def claim(store: Store, study: Study, space: Space, sweep: Sweep) -> optuna.Trial | None:
    """Begin a trial that no other has begun, its parameters chosen and its overrides noted.

    Returns:
        None when there are enough, those included that others run now.
    """
    with store.lock:
        requeue_lost(study)
        while True:
            begun = counted(study, running=True)
            if len(begun) >= total(space, sweep) or hopeless(study, sweep):
                return None
            every = study.get_trials(deepcopy=False)
            study.sampler, study.pruner = _strategy(sweep, len(every))
            trial = study.ask()
            trial.set_user_attr(_OWNER, process.identity())
            overrides = space.overrides(partial(Parameter.suggest, trial=trial))
            known = {_key(_params(t)) for t in every if t.number != trial.number and not _void(t)}
            if _key(trial.params) not in known:
                trial.set_user_attr(OVERRIDES, overrides)
                return trial
            trial.set_user_attr(VOID, "its parameters are those of another")
            study.tell(trial, state=TrialState.FAIL)
            if space.combinations:
                untried = [p for p in space.combinations if _key(p) not in known]
                study.enqueue_trial(untried[trial.number % len(untried)])


def requeue_lost(study: Study) -> None:
    """Void the trials whose process is dead, and queue their parameters, once each.

    To be called under the study's lock: who begins a trial holds it, so that one that is nobody's
    has lost its process too.
    """
    trials = study.get_trials(deepcopy=False)
    queued = {trial.user_attrs.get(_AGAIN) for trial in trials}
    for trial in trials:
        owner = trial.user_attrs.get(_OWNER)
        if trial.state != TrialState.RUNNING or (owner and owner["process.host"] != process.HOST):
            continue
        if owner and process.is_alive(owner):
            continue
        losses = trial.user_attrs.get(_LOSSES, 0) + 1
        if losses > _MAX_LOSSES:
            study.mark(trial, FAILURE, f"its process died {losses} times: out of memory?")
        else:
            params = _params(trial)
            # First queued, then void: a kill between the two loses nothing, and this is seen.
            if params and trial.number not in queued:
                study.add_trial(
                    optuna.create_trial(
                        state=TrialState.WAITING,
                        system_attrs={**trial.system_attrs, "fixed_params": params},
                        user_attrs={_AGAIN: trial.number, _LOSSES: losses},
                    )
                )
            study.mark(trial, VOID, "its process died")
        study.tell(trial.number, state=TrialState.FAIL)


def total(space: Space, sweep: Sweep) -> int:
    """How many trials there will be: a finite space has no more than its combinations."""
    return min(sweep.trials, len(space.combinations or ()) or sweep.trials)


def counted(study: Study, running: bool = False) -> list[FrozenTrial]:
    """The trials that have ended and count, or also those that run."""
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if not _void(trial)
        and (trial.state.is_finished() or (running and trial.state == TrialState.RUNNING))
    ]


def failed(study: Study) -> list[FrozenTrial]:
    """The trials that failed by themselves."""
    return [trial for trial in counted(study) if trial.state == TrialState.FAIL]


def best(study: Study) -> FrozenTrial | None:
    """The best trial; None where none is complete."""
    try:
        return study.best_trial
    except ValueError:
        return None


def hopeless(study: Study, sweep: Sweep) -> bool:
    """Whether too large a share of the trials has failed."""
    failures = len(failed(study))
    share = sweep.max_failed_fraction * len(counted(study))
    return failures >= _MIN_FAILURES and failures > share


def _strategy(
    sweep: Sweep, number: int
) -> tuple[optuna.samplers.BaseSampler, optuna.pruners.BasePruner]:
    """The sampler and the pruner, as at the beginning of a trial.

    The sampler's seed is another for each: a search that goes on, and another worker, would draw
    the same numbers again.
    """
    from hydra.utils import instantiate

    sampler = instantiate(sweep.sampler, _convert_="all")
    if "seed" in sweep.sampler and not isinstance(sampler, _ONE_SEED):
        text = f"{sweep.sampler['seed']} {number}"
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
        sampler = instantiate(sweep.sampler, seed=seed, _convert_="all")
    return sampler, instantiate(sweep.pruner, _convert_="all")


def _void(trial: FrozenTrial) -> bool:
    return VOID in trial.user_attrs


def _params(trial: FrozenTrial) -> Params:
    """A trial's parameters, those included that a waiting one will have."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}


def _key(params: Params) -> Sequence[Any]:
    """What is equal for equal parameters: steps of 0.1 add up in more than one way."""
    rounded = {k: f"{v:.12g}" if isinstance(v, float) else v for k, v in params.items()}
    return tuple(sorted(rounded.items()))
