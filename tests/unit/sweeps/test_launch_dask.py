import os
import socket
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from pipeline.config.paths import REPOSITORY
from pipeline.sweeps.storage import Store
from pipeline.system.errors import UserError
from tests.helpers.configs import assert_one_line
from tests.helpers.tasks import task_of

pytest.importorskip("distributed", reason="Dask is not installed; see requirements-cluster.txt")


def test_wrong_address_is_one_line(store: Store, tmp_path: Path) -> None:
    launch = import_module("pipeline.sweeps.launch_dask").launch  # it imports Dask
    with pytest.raises(UserError) as error:
        launch("no-such-protocol://127.0.0.1:1", task_of(store, tmp_path))
    assert_one_line(error.value, ["launcher.address=no-such-protocol://127.0.0.1:1: "])


@pytest.mark.slow
def test_scheduler_that_lacks_the_project_is_one_line(store: Store, tmp_path: Path) -> None:
    """Dask says only that reading the tasks failed."""
    launch = import_module("pipeline.sweeps.launch_dask").launch
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    paths = [path for path in sys.path if path and Path(path) != REPOSITORY]
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", address]
    scheduler = subprocess.Popen(
        [*command, "--no-dashboard"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stderr=subprocess.DEVNULL,
    )
    try:
        with pytest.raises(UserError) as error:
            launch(address, task_of(store, tmp_path))
    finally:
        scheduler.kill()
        scheduler.wait()
    parts = [f"launcher.address={address}: ", "No module named 'pipeline'", "PYTHONPATH"]
    assert_one_line(error.value, parts)
