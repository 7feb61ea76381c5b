"""Make TensorFlow deterministic."""

import os

import tensorflow as tf


def configure_tensorflow(threads: int | None) -> int:
    """Make TensorFlow's operations deterministic and set its number of threads.

    Call it once in a process, before the first TensorFlow operation.

    Args:
        threads: threads within an operation and between operations; None means one per core.

    Returns:
        The number of threads that was set.
    """
    count = threads or os.cpu_count() or 1
    tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(count)
    return count
