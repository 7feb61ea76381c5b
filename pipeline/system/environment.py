"""The environment variables that TensorFlow, Keras and other libraries read.

Only the configuration may change a result. So variables that could change one are set or removed
when the package is imported, before those libraries are. Some of these variables also name files,
such as the home folder of Keras with its `keras.json`.
"""

import os
from pathlib import Path

from pipeline.system.errors import UserError


def _has_avx512() -> bool:
    """Whether this machine's processor has AVX-512 instructions, as far as Linux tells."""
    try:
        return " avx512f" in Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return False


ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
FIXED = {
    "KERAS_BACKEND": "tensorflow",
    # This is not a folder, so Keras neither reads nor writes `keras.json`. Its `floatx`, `epsilon`
    # and `image_data_format` change results.
    "KERAS_HOME": os.devnull,
    # With AVX-512, oneDNN's kernels need about half of the time of Eigen's (benchmarks/steps.py);
    # without it, they were slower. The choice depends on the processor alone, and not on a
    # measurement, so that the same machine gives the same bytes.
    ONEDNN: "1" if _has_avx512() else "0",
    # MLflow prints the address of each run, with the user and password of the server.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MPLBACKEND": "agg",  # draws without a display; matplotlib refuses to start with a wrong name
}
# Variables with these beginnings choose other algorithms, number formats or limits. The exceptions
# change no result: what is logged, and how a GPU's memory is allocated.
REMOVED = (
    *("AUTOGRAPH_", "CUBLAS", "CUDNN_", "DNNL_", "KERAS_", "LOKY_", "NPY_", "NVIDIA_TF32_"),
    *("ONEDNN_", "TF_", "XLA_"),
)
KEPT = {
    "TF_CPP_MAX_VLOG_LEVEL",
    "TF_CPP_MIN_LOG_LEVEL",
    "TF_CPP_VMODULE",
    "TF_FORCE_GPU_ALLOW_GROWTH",
    "TF_GPU_ALLOCATOR",
}
# The user may choose other values for these.
DEFAULTS = {
    # Hide TensorFlow's own lines: those of its start, and "errors" that change nothing. A real
    # error is raised.
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Report an unreachable server after about 15 seconds instead of four minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}

_REQUESTED_BACKEND = os.environ.get("KERAS_BACKEND", "")  # read before it is set


def set_environment() -> None:
    """Set or remove the variables. Call it before importing those libraries."""
    for name in list(os.environ):
        if name.startswith(REMOVED) and name not in KEPT:
            del os.environ[name]
    os.environ.update(FIXED)
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)


def check_environment() -> None:
    """Refuse a backend that the user asked for and this pipeline cannot use.

    Raises:
        UserError: when KERAS_BACKEND names another backend than TensorFlow.
    """
    if _REQUESTED_BACKEND not in ("", FIXED["KERAS_BACKEND"]):
        raise UserError(
            f"KERAS_BACKEND is {_REQUESTED_BACKEND!r:.100}, but this pipeline runs on TensorFlow "
            "only: run `unset KERAS_BACKEND`"
        )
