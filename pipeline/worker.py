"""One worker of a search: it claims a trial, trains it, and claims the next.

`work` takes nothing but what can be sent to another process.
"""

import gc
import hashlib
import io
import json
import math
import os
import signal
import threading
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from pipeline import address, config, data, process
from pipeline.command import UserError
from pipeline.config import Config, Sweep, root
from pipeline.space import merge, parse

if TYPE_CHECKING:
    from optuna import Trial

    from pipeline.study import Store, Study

FOLDER = ".sweeps"


@dataclass(frozen=True)
class Task:
    """What a worker has to know.

    Attributes:
        store: where the study is.
        sweep: the search.
        base: the overrides that all trials share.
        prepared: folder of the prepared data on the search's machine.
        digest: of the prepared data.
        threads: of TensorFlow.
        tracking_uri: of the MLflow store.
        parent_run: the search's MLflow run; "" where the store is away.
        search: tells this search from others that work on the same study.
        parent: the process that started the search, where its workers are to end with it. Those
            of a cluster do not: their processes are not the search's.
    """

    store: "Store"
    sweep: Sweep
    base: list[str]
    prepared: Path
    digest: str
    threads: int
    tracking_uri: str
    parent_run: str
    search: str
    parent: dict[str, str] | None


_ALONE = threading.Lock()  # Keras trains one network at a time in a process


def work(task: Task) -> str:
    """Run trials until there are as many as were asked for, or the search is hopeless.

    Returns:
        Why it ended before that: on a cluster one worker's error would end the others. "" if not.
    """
    if task.parent:
        threading.Thread(target=_end_with, args=(task.parent,), daemon=True).start()
    # What a training says of its epochs would drown what the search says of its trials.
    with _ALONE, redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        try:
            _work(task)
        except Exception as error:
            return f"{process.HOST}: {type(error).__name__}: {config.one_line(error)[:500]}"
    return ""


def _work(task: Task) -> None:
    import mlflow

    from pipeline import study, tracking
    from pipeline.train import configure

    configure(task.threads)
    tracking.use_store()
    mlflow.set_tracking_uri(task.tracking_uri)
    task = replace(task, prepared=_prepared(task))
    opened = task.store.open()
    space = parse(task.sweep)
    parent_run = task.parent_run
    while trial := study.claim(task.store, opened, space, task.sweep, task.search):
        with opened.alive(trial):
            parent_run = run_trial(task, opened, trial, parent_run)
        _forget()
        if not gc.get_freeze_count():
            gc.freeze()  # what the imports made stays: to look through it again takes longest


def _prepared(task: Task) -> Path:
    """The prepared data on this machine, made here where they are missing."""
    if data.is_there(task.prepared) and data.digest(task.prepared) == task.digest:
        return task.prepared
    own = build(config.typed(config.compose(task.base)))
    if (digest := data.digest(own)) != task.digest:
        raise UserError(f"{own}: the data's digest is {digest}, the search's {task.digest}")
    return own


def build(cfg: Config) -> Path:
    """Fetch and prepare what a configuration says, once, beside the workspace's data.

    Returns:
        The folder of the prepared data.
    """
    from pipeline.fetch import fetch
    from pipeline.prepare import prepare

    asked = json.dumps([asdict(cfg.data), asdict(cfg.prepare)], sort_keys=True)
    folder = root() / FOLDER / ".data" / hashlib.sha256(asked.encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "build.lock"):
        if not data.is_there(folder / "prepared"):
            fetch(cfg.data, cfg.fetch, folder / "raw")
            prepare(cfg.data, cfg.prepare, folder / "raw", folder / "prepared")
    return folder / "prepared"


def run_trial(task: Task, study: "Study", trial: "Trial", parent_run: str) -> str:
    """Train what a trial's overrides say; tell the study how it ended.

    A trial that fails, whatever the reason, is recorded as failed. One that was taken for lost, and
    is another worker's by now, is left to that one; one whose search was interrupted, to the next.

    Returns:
        The search's run, or "" once the store has failed: it is not waited for again and again.
    """
    from optuna import TrialPruned
    from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
    from optuna.trial import TrialState

    from pipeline.search_runs import TrialRun
    from pipeline.study import FAILURE, HISTORY, OVERRIDES, THREADS, Stopped
    from pipeline.train import train

    metric, run, value = task.sweep.metric, None, None
    overrides = trial.user_attrs[OVERRIDES]
    history: list[dict[str, float]] = []
    try:
        trial.set_user_attr(THREADS, task.threads)
        try:
            cfg = config.typed(config.compose(merge(task.base, overrides)))
            run = TrialRun(cfg, task.prepared, parent_run, trial.number)
            run.begin(overrides)

            def on_epoch(epoch: int, row: dict[str, float]) -> None:
                history.append(row)
                run.log_epoch(epoch, row)
                trial.report(row[metric], epoch)
                if study.is_stopped(task.search):
                    raise Stopped
                if epoch < cfg.train.epochs and trial.should_prune():
                    raise TrialPruned

            with address.initial(cfg.train.init_from) as init:
                best = train(cfg, task.prepared, on_epoch, init=init).best
            if not math.isfinite(best[metric]):
                raise UserError(f"{metric} is {best[metric]}")
            state, failure, value = TrialState.COMPLETE, "", best[metric]
        except TrialPruned:
            state, failure = TrialState.PRUNED, ""
        except Stopped:
            study.leave(trial)
            raise
        except (StorageInternalError, UpdateFinishedTrialError):
            raise  # the study's trouble, not the trial's
        except Exception as error:
            state, failure = TrialState.FAIL, f"{type(error).__name__}: {config.one_line(error)}"
            trial.set_user_attr(FAILURE, failure)
        with task.store.lock:  # it cannot be taken for lost between the two
            trial.set_user_attr(HISTORY, history)
            study.tell(trial, value, state)
    except (Stopped, UpdateFinishedTrialError):
        if run:
            run.end_lost()
        return parent_run
    if run is None:
        return parent_run
    run.end(state.name, failure)
    return "" if run.behind else parent_run


def _forget() -> None:
    """Free what the last training leaves: memory stays flat over hundreds of trials.

    A gradient of its own (`tf.custom_gradient`), such as the deterministic loss has, TensorFlow
    registers for good each time that it is traced, and its network and data with it.
    """
    import keras
    from tensorflow.python.framework import ops

    registered = ops.gradient_registry._registry
    for name in [name for name in registered if name.startswith("CustomGradient-")]:
        del registered[name]
    keras.utils.clear_session(free_memory=True)


def _end_with(parent: dict[str, str]) -> None:
    """End this process when the search's is gone; it would go on unseen."""
    while process.is_alive(parent):
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)
