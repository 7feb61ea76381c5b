import pickle
import subprocess
import sys

from pipeline.config.paths import REPOSITORY
from pipeline.sweeps.entry import worker_main


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
