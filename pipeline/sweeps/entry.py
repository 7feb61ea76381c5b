"""The function that launchers start in other processes."""

from pipeline.sweeps.task import Task
from pipeline.system import process
from pipeline.system.errors import describe_error


def worker_main(task: Task) -> str:
    """Run a worker. TensorFlow is imported here, in the worker's process, and not by launchers.

    Returns:
        Why the worker ended early; "" if it did not.
    """
    try:
        from pipeline.sweeps.worker import work
    except ImportError as error:  # a machine of a cluster may lack a package
        return f"{process.HOST}: {describe_error(error)}"
    return work(task)
