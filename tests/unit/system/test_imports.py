import subprocess
import sys

import pytest

from pipeline.config.paths import REPOSITORY

pytestmark = pytest.mark.slow  # it imports TensorFlow


def errors(code: str) -> str:
    """What the code writes to the standard error of another process."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return done.stderr


def test_import_of_tensorflow_prints_nothing_with_either_kernels() -> None:
    for kernels in ("0", "1"):
        code = (
            "import pipeline, os\n"
            f"os.environ['TF_ENABLE_ONEDNN_OPTS'] = '{kernels}'\n"
            "import tensorflow\n"
            "tensorflow.constant(1)\n"
        )
        assert errors(code) == ""


def test_other_lines_and_errors_of_the_import_stay() -> None:
    code = (
        "import pipeline, os, sys\n"
        "from pipeline.system import imports\n"
        "with imports._without_hidden_lines():\n"
        "    os.write(2, b'one\\noneDNN custom operations are on.\\ntwo\\n')\n"
        "    raise SystemExit('three')\n"
    )
    assert errors(code) == "one\ntwo\nthree\n"


WITHOUT = """
import pipeline, importlib, sys, threading, time
others = []
def other():
    while "keras" not in sys.modules:
        time.sleep(0.001)
    others.append(importlib.import_module("matplotlib"))
thread = threading.Thread(target=other)
thread.start()
import keras
thread.join()
assert others, "another thread may import it in the meantime"
assert "sklearn" not in sys.modules
importlib.import_module("sklearn")
keras.Sequential([keras.layers.Dense(2)])
"""


def test_keras_is_imported_without_libraries_that_are_not_used_through_it() -> None:
    assert errors("import pipeline, keras, sys; assert 'matplotlib' not in sys.modules") == ""
    assert errors(WITHOUT) == ""
