"""Servers on this machine that tests start, wait for and end."""

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait(process: subprocess.Popen[bytes], url: str) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            assert process.poll() is None, f"{process.args!r} ended"
            assert time.monotonic() < deadline, f"{process.args!r} does not answer"
            time.sleep(0.2)


def end(process: subprocess.Popen[bytes], how: signal.Signals = signal.SIGKILL) -> None:
    """End the process group of a server."""
    if process.poll() is None:
        os.killpg(process.pid, how)
        process.wait(30)


@contextmanager
def mlflow(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """An MLflow server, until the block ends or it is killed; its runs stay in the folder."""
    folder.mkdir(exist_ok=True)
    store = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    artifacts = ["--serve-artifacts", "--artifacts-destination", str(folder / "artifacts")]
    process = subprocess.Popen(
        ["mlflow", "server", "--port", str(port), "--workers", "1", *store, *artifacts],
        env={
            **os.environ,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        },  # a third of its start-up time
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait(process, f"http://127.0.0.1:{port}/health")
        yield process
    finally:
        end(process)


def variables(port: int) -> dict[str, str]:
    """The environment of a user of that MLflow server, with a short time-out."""
    address = f"http://127.0.0.1:{port}"
    return {"MLFLOW_TRACKING_URI": address, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
