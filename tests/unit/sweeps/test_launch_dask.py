from importlib import import_module
from pathlib import Path

import pytest

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
