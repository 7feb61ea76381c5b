"""Workers as tasks of a running Ray cluster."""

import ray

from pipeline.sweeps.entry import worker_main
from pipeline.sweeps.task import Task
from pipeline.system.errors import UserError


def launch(address: str, task: Task) -> str:
    """Start the workers and wait until they end; see `launchers.launch`.

    Args:
        address: of the head, `host:6379`.
        task: what the workers must know.
    """
    try:
        ray.init(address, ignore_reinit_error=True, log_to_driver=False, logging_level="error")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(f"launcher.address={address}: {error}") from None
    # Without any share of a processor Ray puts all workers on one host. With a whole one, a worker
    # waits for ever if its host is lost and the others have no processor left.
    remote = ray.remote(num_cpus=0.01, scheduling_strategy="SPREAD")(worker_main)
    workers = [remote.remote(task) for _ in range(task.sweep.workers)]
    try:
        return next(filter(None, ray.get(workers)), "")
    except ray.exceptions.RayError as error:
        return f"a worker was lost ({type(error).__name__}): its trial starts again"
    finally:
        for worker in workers:
            ray.cancel(worker, force=True)  # no effect on one that has ended
