"""Environment variables that TensorFlow, Keras and MLflow read when they are imported."""

import os

DEFAULTS = {
    "TF_CPP_MIN_LOG_LEVEL": "2",  # hide TensorFlow's start-up messages
    "KERAS_BACKEND": "tensorflow",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Report an unreachable server after about 15 seconds instead of four minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # oneDNN orders its sums differently on each kind of processor, and it is slower than Eigen on
    # networks as small as these.
    "TF_ENABLE_ONEDNN_OPTS": "0",
}


def set_defaults() -> None:
    """Set each variable that the user has not set. Call it before importing those libraries."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
