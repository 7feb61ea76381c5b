"""Start the workers of a sweep: on this machine, or on a Dask or Ray cluster."""

import importlib

from pipeline.config.schema import Launcher
from pipeline.sweeps.task import Task
from pipeline.system.errors import UserError


def launch(launcher: Launcher, task: Task) -> str:
    """Start the workers and wait until they end.

    Each backend is a module `launch_<backend>` in this package. It is imported by name, because its
    library may not be installed.

    Returns:
        Why workers ended early; "" if they did not.

    Raises:
        UserError: when the cluster does not answer, or its package is not installed.
    """
    try:
        backend = importlib.import_module(f"pipeline.sweeps.launch_{launcher.backend}")
    except ImportError as error:
        raise UserError(
            f"{error}: the packages for clusters are in requirements-cluster.txt"
        ) from None
    reason: str = backend.launch(launcher.address, task)
    return reason
