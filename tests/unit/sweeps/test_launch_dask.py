import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest

from pipeline.config.paths import REPOSITORY
from pipeline.sweeps.storage import Store
from pipeline.system.errors import UserError
from tests.helpers.configs import assert_one_line
from tests.helpers.tasks import task_of

Client = pytest.importorskip(
    "distributed", reason="Dask is not installed; see requirements-cluster.txt"
).Client


def test_wrong_address_is_one_line(store: Store, tmp_path: Path) -> None:
    launch = import_module("pipeline.sweeps.launch_dask").launch  # it imports Dask
    with pytest.raises(UserError) as error:
        launch("no-such-protocol://127.0.0.1:1", task_of(store, tmp_path))
    assert_one_line(error.value, ["launcher.address=no-such-protocol://127.0.0.1:1: "])


@contextmanager
def without_project(program: str, *arguments: str, folder: Path) -> Iterator[None]:
    """A program of Dask that cannot import this project."""
    paths = [path for path in sys.path if path and Path(path) != REPOSITORY]
    process = subprocess.Popen(
        [sys.executable, "-m", f"distributed.cli.dask_{program}", *arguments, "--no-dashboard"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"tcp://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.slow
def test_scheduler_that_lacks_the_project_is_one_line(
    store: Store, tmp_path: Path, address: str
) -> None:
    """Dask says only that reading the tasks failed."""
    launch = import_module("pipeline.sweeps.launch_dask").launch
    with (
        without_project("scheduler", "--host", address, folder=tmp_path),
        pytest.raises(UserError) as error,
    ):
        launch(address, task_of(store, tmp_path))
    parts = [f"launcher.address={address}: ", "No module named 'pipeline'", "PYTHONPATH"]
    assert_one_line(error.value, parts)


@pytest.mark.slow
def test_worker_that_lacks_the_project_is_one_line(
    store: Store, tmp_path: Path, address: str
) -> None:
    """Dask closes it, and says nothing."""
    launch = import_module("pipeline.sweeps.launch_dask").launch
    with (
        without_project("scheduler", "--host", address, folder=tmp_path),
        without_project("worker", address, "--no-nanny", folder=tmp_path),
    ):
        with Client(address, timeout=20, set_as_default=False) as client:
            client.wait_for_workers(1, timeout=30)
        with pytest.raises(UserError) as error:
            launch(address, task_of(store, tmp_path))
    parts = [f"launcher.address={address}: these workers", "tcp://127.0.0.1:", "PYTHONPATH"]
    assert_one_line(error.value, parts)
