from importlib.util import find_spec
from pathlib import Path

import pytest

from pipeline.config.schema import Launcher
from pipeline.sweeps.launchers import launch
from pipeline.sweeps.storage import Store
from pipeline.system.errors import UserError
from tests.helpers.configs import assert_one_line, changed
from tests.helpers.tasks import task_of


@pytest.mark.parametrize(("backend", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_missing_package_of_a_cluster_is_one_line(
    store: Store, tmp_path: Path, backend: str, package: str
) -> None:
    if find_spec(package):
        pytest.skip(f"{package} is installed")
    launcher = Launcher.model_validate({"backend": backend, "address": "a:1", "storage": ""})
    with pytest.raises(UserError) as error:
        launch(launcher, task_of(store, tmp_path))
    assert_one_line(error.value, [package, "requirements-cluster.txt"])


def test_backend_is_chosen_by_name(store: Store, tmp_path: Path) -> None:
    launcher = Launcher(backend="local", address="", storage="")
    task = task_of(store, tmp_path)
    no_workers = task_of(store, tmp_path, sweep=changed(task.sweep, workers=0))
    assert launch(launcher, no_workers) == ""
