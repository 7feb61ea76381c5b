"""An experiment-tracked pipeline that identifies handwritten digits: one verb per file."""

import os

# Set before TensorFlow or MLflow is imported, which read them once. What the user sets wins.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up notes
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# An unreachable server is told after some 15 seconds, not after four minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# oneDNN's kernels choose another order of sums for each kind of processor, and on networks as small
# as these they are the slower ones.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
