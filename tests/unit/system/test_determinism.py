import os
import subprocess
import sys

import pytest

from pipeline.config.paths import REPOSITORY

# TensorFlow can be configured only once in a process, so each case has its own.
CONFIGURE = """
import tensorflow as tf
from pipeline.system.determinism import configure_tensorflow
print(configure_tensorflow({threads}))
print(tf.config.threading.get_intra_op_parallelism_threads())
print(tf.config.threading.get_inter_op_parallelism_threads())
try:
    tf.random.uniform([2])  # unseeded: deterministic operations refuse it
    print("not deterministic")
except RuntimeError as error:
    print("deterministic" if "determinism" in str(error) else error)
"""


@pytest.mark.parametrize("threads", [3, pytest.param(None, marks=pytest.mark.slow)])
def test_operations_are_deterministic_on_a_number_of_threads(threads: int | None) -> None:
    output = subprocess.run(
        [sys.executable, "-c", CONFIGURE.format(threads=threads)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert output.split() == [str(threads or os.cpu_count())] * 3 + ["deterministic"]
