"""Run workers as tasks of a running Dask cluster."""

from importlib.util import find_spec

from distributed import CancelledError, Client, KilledWorker
from distributed.comm import CommClosedError

from pipeline.sweeps.entry import worker_main
from pipeline.sweeps.task import Task
from pipeline.system.errors import UserError, describe_error


def launch(address: str, task: Task) -> str:
    """Start the workers and wait until they end; see `launchers.launch`.

    Args:
        address: the scheduler's address, such as `tcp://host:8786`.
        task: what each worker needs to know.
    """
    try:
        client = Client(address, timeout=20, set_as_default=False)
    except (OSError, ValueError) as error:  # a time-out is an OSError
        raise UserError(f"launcher.address={address}: {error}") from None
    with client:
        try:
            # Dask closes a worker that cannot read its task. It says nothing, and the sweep waits.
            found = client.run(find_spec, "pipeline")
            if lacking := [worker for worker, spec in found.items() if spec is None]:
                raise UserError(
                    f"launcher.address={address}: these workers do not have the project: "
                    f"{', '.join(lacking)}; is it on their PYTHONPATH?"
                )
            # By default, Dask runs calls with equal arguments only once.
            calls = [
                client.submit(worker_main, task, pure=False) for _ in range(task.sweep.workers)
            ]
            return next(filter(None, client.gather(calls)), "")
        except (KilledWorker, CommClosedError, CancelledError, OSError) as error:
            return f"a worker was lost ({describe_error(error)}): its trial starts again"
        except (ImportError, RuntimeError) as error:  # the scheduler cannot read the tasks
            raise UserError(
                f"launcher.address={address}: {describe_error(error.__cause__ or error)}: "
                "is this project on the PYTHONPATH of the scheduler and of the workers?"
            ) from None
