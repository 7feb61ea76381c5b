"""Run workers as processes on this machine."""

import multiprocessing
import signal
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from pipeline.sweeps.entry import worker_main
from pipeline.sweeps.task import REPLACE, Task

# A forked process would inherit TensorFlow and MLflow in an unknown state.
_SPAWN = multiprocessing.get_context("spawn")
_MAX_RESTARTS = 3  # of workers that died, before the others finish alone


def launch(address: str, task: Task) -> str:
    """Start the workers and wait until they end; see `launchers.launch`.

    Args:
        address: not used; other launchers need the address of a cluster.
        task: what each worker needs to know.
    """
    workers = dict(_start(task) for _ in range(task.sweep.workers))
    restarts, last_reason = 0, ""
    try:
        while workers:
            ended = wait(list(workers))
            for sentinel in [sentinel for sentinel in workers if sentinel in ended]:
                worker, receiver = workers.pop(sentinel)
                reason = _reason(worker, receiver)
                if reason == REPLACE:
                    workers |= [_start(task)]
                    continue
                last_reason = reason or last_reason
                if worker.exitcode and restarts < _MAX_RESTARTS:
                    restarts += 1
                    workers |= [_start(task)]
    finally:
        for worker, _ in workers.values():
            worker.kill()
            worker.join()
    return last_reason


def _start(task: Task) -> tuple[int, tuple[BaseProcess, Connection]]:
    """Start a worker; returns its sentinel, its process, and where it sends why it ended."""
    receiver, sender = _SPAWN.Pipe(duplex=False)
    worker = _SPAWN.Process(target=_run, args=(task, sender))
    worker.start()
    sender.close()
    return worker.sentinel, (worker, receiver)


def _reason(worker: BaseProcess, receiver: Connection) -> str:
    """Why a worker has ended early; "" if it did not."""
    worker.join()
    if worker.exitcode:
        return f"a worker process died (exit code {worker.exitcode}): its trial starts again"
    try:
        return str(receiver.recv())
    except EOFError:
        return "a worker process ended without saying why: its trial starts again"


def _run(task: Task, sender: Connection) -> None:
    # Ctrl-C reaches all processes of a terminal. Only the one that started the sweep handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sender.send(worker_main(task))
