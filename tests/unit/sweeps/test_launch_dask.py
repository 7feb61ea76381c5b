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


def assert_refused(address: str, store: Store, folder: Path, *parts: str) -> None:
    launch = import_module("pipeline.sweeps.launch_dask").launch  # it imports Dask
    with pytest.raises(UserError) as error:
        launch(address, task_of(store, folder))
    assert_one_line(error.value, [f"launcher.address={address}: ", *parts])


def test_wrong_address_is_one_line(store: Store, tmp_path: Path) -> None:
    assert_refused("no-such-protocol://127.0.0.1:1", store, tmp_path)


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
    with without_project("scheduler", "--host", address, folder=tmp_path):
        assert_refused(address, store, tmp_path, "No module named 'pipeline'", "PYTHONPATH")


@pytest.mark.slow
def test_worker_that_lacks_the_project_is_one_line(
    store: Store, tmp_path: Path, address: str
) -> None:
    """Dask closes it, and says nothing."""
    with (
        without_project("scheduler", "--host", address, folder=tmp_path),
        without_project("worker", address, "--no-nanny", folder=tmp_path),
    ):
        with Client(address, timeout=20, set_as_default=False) as client:
            client.wait_for_workers(1, timeout=30)
        names = f"launcher.address={address}: these workers"
        assert_refused(address, store, tmp_path, names, "tcp://127.0.0.1:", "PYTHONPATH")
