import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config.paths import REPOSITORY
from pipeline.sweeps.entry import worker_main
from pipeline.sweeps.storage import Store
from pipeline.system.process import HOST
from tests.helpers.tasks import task_of


@pytest.mark.slow
def test_importing_the_function_does_not_import_tensorflow() -> None:
    """Launchers import it, in processes that train nothing."""
    code = (
        "import sys, pipeline.sweeps.entry;"
        "print({'keras', 'mlflow', 'tensorflow', 'pipeline.sweeps.worker'} & set(sys.modules))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    assert output == "set()\n"


def test_function_can_be_sent_to_another_process() -> None:
    assert pickle.loads(pickle.dumps(worker_main)) is worker_main


@pytest.mark.slow
def test_missing_package_of_a_worker_is_its_reason(store: Store, tmp_path: Path) -> None:
    """A machine of a cluster may lack TensorFlow."""
    code = (
        "import pickle, sys; sys.modules['tensorflow'] = None;"
        "from pipeline.sweeps.entry import worker_main;"
        "print(worker_main(pickle.load(sys.stdin.buffer)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        input=pickle.dumps(task_of(store, tmp_path)),
        capture_output=True,
        check=True,
    )
    assert result.stdout.decode().startswith(f"{HOST}: ModuleNotFoundError: ")
    assert b"tensorflow" in result.stdout
