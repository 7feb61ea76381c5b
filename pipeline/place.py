"""Where the workers of a search run: on this machine, or on a Dask or Ray cluster that is there.

joblib places them; each is `pipeline.worker.work`.
"""

import os
from typing import Any

from pipeline.command import UserError
from pipeline.config import Launcher
from pipeline.worker import Task, work

_FEWEST = 2  # workers: asked for one, joblib would take this very process


def place(launcher: Launcher, task: Task) -> str:
    """Start the workers and wait for them.

    Returns:
        Why the workers ended before they were done; "" where they were not lost.

    Raises:
        UserError: when the cluster does not answer, or its package is not installed.
    """
    from joblib import Parallel, delayed, parallel_config
    from joblib.externals.loky import get_reusable_executor

    options, count, losses = {"loky": _here, "dask": _dask, "ray": _ray}[launcher.backend](
        launcher.address, task.sweep.workers
    )
    try:
        with parallel_config(launcher.backend, **options):
            said = Parallel(n_jobs=max(count, _FEWEST), batch_size=1, pre_dispatch="all")(
                delayed(work)(task) for _ in range(count)
            )
        return next(filter(None, said), "")
    except losses as error:
        return f"a worker was lost ({type(error).__name__}): its trial begins again"
    finally:
        if launcher.backend == "loky":
            get_reusable_executor().shutdown(kill_workers=True)


Placement = tuple[dict[str, Any], int, tuple[type[Exception], ...]]


def _here(address: str, count: int) -> Placement:
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    # What its workers shared is freed by their tracker, which need not say so.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
    return {}, count, (TerminatedWorkerError,)


def _dask(address: str, count: int) -> Placement:
    try:
        from distributed import Client, KilledWorker
        from distributed.comm import CommClosedError
    except ImportError as error:
        raise _not_installed(error) from None
    try:
        Client(address, timeout=20, set_as_default=False).close()
    except (OSError, ValueError) as error:  # a time-out is an OSError
        raise UserError(f"launcher.address={address}: {error}") from None
    return {"scheduler_host": address}, count, (KilledWorker, CommClosedError, OSError)


def _ray(address: str, count: int) -> Placement:
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError as error:
        raise _not_installed(error) from None
    try:
        ray.init(address, ignore_reinit_error=True, log_to_driver=False, logging_level="error")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(f"launcher.address={address}: {error}") from None
    register_ray()
    # It refuses more workers than there are processors, and a host may be lost already.
    processors = int(ray.cluster_resources().get("CPU", 0))
    if processors < _FEWEST:
        raise UserError(
            f"launcher.address={address}: the cluster's processors are {processors}, a search "
            f"needs {_FEWEST}"
        )
    # Without any share of a processor Ray crowds all workers on one host. With a whole one, that of
    # a host which is lost while they are placed would wait for another for ever.
    options = {"ray_remote_args": {"num_cpus": 0.01, "scheduling_strategy": "SPREAD"}}
    return options, min(count, processors), (ray.exceptions.RayError,)


def _not_installed(error: ImportError) -> UserError:
    return UserError(f"{error}: the cluster's packages are in requirements-cluster.txt")
