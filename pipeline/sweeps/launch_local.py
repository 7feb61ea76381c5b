"""Run workers as processes on this machine."""

import multiprocessing
import signal
from multiprocessing.connection import Connection

from pipeline.sweeps.entry import worker_main
from pipeline.sweeps.task import Task

# A forked process would inherit TensorFlow and MLflow in an unknown state.
_SPAWN = multiprocessing.get_context("spawn")


def launch(address: str, task: Task) -> str:
    """Start the workers and wait until they end; see `launchers.launch`.

    Args:
        address: not used; other launchers need the address of a cluster.
        task: what each worker needs to know.
    """
    pipes = [_SPAWN.Pipe(duplex=False) for _ in range(task.sweep.workers)]
    workers = [_SPAWN.Process(target=_run, args=(task, sender)) for _, sender in pipes]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        for worker in workers:
            if worker.is_alive():
                worker.kill()
                worker.join()
    for worker, (receiver, _) in zip(workers, pipes, strict=True):
        if worker.exitcode:
            return f"a worker process died (exit code {worker.exitcode}): its trial starts again"
        if reason := receiver.recv():
            return str(reason)
    return ""


def _run(task: Task, sender: Connection) -> None:
    # Ctrl-C reaches all processes of a terminal. Only the one that started the sweep handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sender.send(worker_main(task))
