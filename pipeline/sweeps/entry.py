"""The function that launchers start in other processes."""

from pipeline.sweeps.task import Task


def worker_main(task: Task) -> str:
    """Run a worker. TensorFlow is imported here, in the worker's process, and not by launchers.

    Returns:
        Why the worker ended early; "" if it did not.
    """
    from pipeline.sweeps.worker import work

    return work(task)
