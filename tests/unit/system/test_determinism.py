import subprocess
import sys

import pytest

from pipeline.config.paths import REPOSITORY
from pipeline.system.processor import usable_cores

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


@pytest.mark.slow
@pytest.mark.parametrize("threads", [3, pytest.param(None, marks=pytest.mark.slow)])
def test_operations_are_deterministic_on_a_number_of_threads(threads: int | None) -> None:
    output = subprocess.run(
        [sys.executable, "-c", CONFIGURE.format(threads=threads)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert output.split() == [str(threads or usable_cores())] * 3 + ["deterministic"]


EARLY = """
import keras
keras.config.set_floatx("float16")
keras.config.set_epsilon(0.1)
keras.config.set_image_data_format("channels_first")
keras.config.set_dtype_policy("mixed_float16")
from pipeline.system.determinism import configure_tensorflow
configure_tensorflow(1)
print(keras.config.floatx(), keras.config.epsilon(), keras.config.image_data_format())
print(keras.config.dtype_policy().name)
"""


@pytest.mark.slow
def test_settings_of_an_earlier_import_of_keras_are_replaced() -> None:
    command = [sys.executable, "-c", EARLY]
    output = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    assert output.split() == ["float32", "1e-07", "channels_last", "float32"]
