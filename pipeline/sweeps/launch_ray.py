"""Run workers as tasks of a running Ray cluster."""

import ray

from pipeline.sweeps.entry import worker_main
from pipeline.sweeps.task import Task
from pipeline.system.errors import UserError, describe_error


def launch(address: str, task: Task) -> str:
    """Start the workers and wait until they end; see `launchers.launch`.

    Args:
        address: the head node's address, such as `host:6379`.
        task: what each worker needs to know.
    """
    try:
        ray.init(address, ignore_reinit_error=True, log_to_driver=False, logging_level="error")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(f"launcher.address={address}: {error}") from None
    # With num_cpus=0, Ray puts all workers on one host. With num_cpus=1, a worker whose host is
    # lost waits forever if the other hosts have no free CPU.
    remote = ray.remote(num_cpus=0.01, scheduling_strategy="SPREAD")(worker_main)
    workers = [remote.remote(task) for _ in range(task.sweep.workers)]
    try:
        return next(filter(None, ray.get(workers)), "")
    except ray.exceptions.RayError as error:
        # Of an error in a task, Ray's own text is a whole traceback, which ends with the cause.
        reason = describe_error(getattr(error, "cause", None) or error)
        return f"a worker was lost ({reason[-500:]}): its trial starts again"
    finally:
        for worker in workers:
            ray.cancel(worker, force=True)  # no effect on a worker that has ended
