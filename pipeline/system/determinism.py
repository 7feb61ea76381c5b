"""Make TensorFlow and Keras deterministic, whatever the files around the process say."""

import keras
import tensorflow as tf

from pipeline.system.processor import usable_cores


def configure_tensorflow(threads: int | None) -> int:
    """Make TensorFlow's operations deterministic and set its number of threads.

    Call it once in a process, before the first TensorFlow operation.

    Args:
        threads: threads within an operation and between operations; None means one for each core
            that the process may use.

    Returns:
        The number of threads that was set.
    """
    count = threads or usable_cores()
    tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(count)
    # A process of a cluster may have imported Keras, and its `keras.json`, before this package.
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_dtype_policy("float32")
    return count


def gpus() -> list[str]:
    """The names of the GPUs that TensorFlow computes on."""
    devices = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(device) for device in devices]
    return [str(detail.get("device_name", "unknown")) for detail in details]
