"""Which runs are still running. A run whose process cannot be seen is judged by its heartbeat."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import mlflow
from mlflow.entities import Run
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from pipeline.system import process
from pipeline.system.process import State
from pipeline.tracking.description import write_description
from pipeline.tracking.tags import TRAINING_ID

HEARTBEAT = "process.heartbeat"  # the tag with the time of the last heartbeat, in seconds
_INTERVAL = 15.0  # seconds between two heartbeats
# Seconds without a heartbeat after which a process is taken for dead. The clocks of machines that
# share a store must agree to within a minute.
_STALE = 150.0
_SAMPLE = 2.0  # seconds between two samples of the system's metrics
_LOOK = 1.0  # seconds between two looks at a run


def signs_of_life() -> dict[str, str]:
    """The tags of a run that this process has just begun to train.

    A run has them before it is RUNNING: others close a RUNNING run whose process is dead, and wait
    for the heartbeat of one whose process they cannot see.
    """
    return {**process.identity(), HEARTBEAT: _now()}


class Heartbeat:
    """Tells others that a run is running, until it is stopped or the process ends."""

    def __init__(self, run_id: str, interval: float = _INTERVAL) -> None:
        """Start the heartbeat of a run. A store that fails only makes it miss a beat."""
        self._run_id = run_id
        self._interval = interval
        self._over = threading.Event()
        self._uri = mlflow.get_tracking_uri()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop it. A beat that waits for a store ends by itself."""
        self._over.set()
        self._thread.join(timeout=1)

    def _beat(self) -> None:
        client = mlflow.MlflowClient(self._uri)
        while not self._over.is_set():
            with suppress(Exception):  # the store may be back at the next beat
                client.set_tag(self._run_id, HEARTBEAT, _now())
            self._over.wait(self._interval)


class SystemMetrics:
    """Logs the use of processors, memory and GPUs to a run, until it is stopped."""

    def __init__(self, run_id: str) -> None:
        """Start to log; a resumed run continues where it stopped."""
        logging.getLogger("mlflow.system_metrics").setLevel(logging.CRITICAL)  # a store may fail
        self._monitor = SystemMetricsMonitor(run_id, _SAMPLE, resume_logging=True)
        self._monitor.start()

    def stop(self) -> None:
        """Stop. What waits for a store that does not answer ends with the process."""
        thread = threading.Thread(target=self._monitor.finish, daemon=True)
        thread.start()
        thread.join(timeout=1)


def close_dead_runs() -> None:
    """Mark as KILLED the RUNNING runs of the experiment whose process is dead.

    A process of another machine or container is dead when its heartbeat is stale. Runs that have no
    process, because this project did not start them, are left alone.
    """
    client = mlflow.MlflowClient()
    for run in _running():
        state = _state(run)
        if state is State.DEAD or (state is State.UNKNOWN and _is_stale(run)):
            client.set_terminated(run.info.run_id, "KILLED")
            if TRAINING_ID in run.data.tags:
                write_description(run.info.run_id)


def wait_until_known(training_id: str, check: Callable[[], None]) -> None:
    """Wait until each run of a training that is RUNNING is known to be alive or dead.

    A machine or container that starts again soon after a kill waits here, so that the training goes
    on in the same run.

    Args:
        training_id: the id of the training.
        check: called every second; it may raise an exception to end the waiting.
    """
    first: dict[str, str | None] = {}  # the heartbeat of each run when it was first looked at
    said = False
    while unknown := [run for run in _running(training_id) if _may_be_alive(run, first)]:
        if not said:
            where = unknown[0].data.tags.get("process.host")
            print(
                f"run {unknown[0].info.run_name} may still be training on {where}: waiting until "
                f"it has shown a heartbeat, or none for {_STALE:.0f} s"
            )
            said = True
        check()
        time.sleep(_LOOK)


def _may_be_alive(run: Run, first: dict[str, str | None]) -> bool:
    beat = run.data.tags.get(HEARTBEAT)
    changed = first.setdefault(run.info.run_id, beat) != beat
    return not changed and _state(run) is State.UNKNOWN and not _is_stale(run)


def _running(training_id: str = "") -> list[Run]:
    """The RUNNING runs of the experiment, or of one training."""
    of_training = f" and tags.`{TRAINING_ID}` = '{training_id}'" if training_id else ""
    return mlflow.search_runs(
        filter_string=f"attributes.status = 'RUNNING'{of_training}", output_format="list"
    )


def _state(run: Run) -> State:
    return process.state_of(run.data.tags) if "process.id" in run.data.tags else State.ALIVE


def _now() -> str:
    return f"{time.time():.1f}"


def _is_stale(run: Run) -> bool:
    """Whether a run has missed many heartbeats. Runs of older versions have none."""
    beat = run.data.tags.get(HEARTBEAT)
    return beat is not None and time.time() - float(beat) > _STALE
