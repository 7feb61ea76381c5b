"""Browse the runs of this project on MLflow's page.

Examples:
    python -m pipeline.ui [--port 5000]

It prints the address that shows the runs, and opens it in a browser if there is one. A bare
`mlflow ui` opens in MLflow's mode for language models.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
import webbrowser
from contextlib import suppress
from pathlib import Path

import requests

from pipeline.config.composition import compose
from pipeline.system import cli
from pipeline.system.errors import UserError
from pipeline.system.port import check_port
from pipeline.system.redaction import redact

_SECONDS = 60  # until the server answers


def main() -> int:
    """Serve the page until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser("python -m pipeline.ui", description=main.__doc__)
    parser.add_argument("--port", type=int, default=5000)
    arguments = parser.parse_args()

    import mlflow

    from pipeline.tracking.store import connect
    from pipeline.tracking.views import view_fragment

    experiment = compose(params=Path("params.yaml")).tracking.experiment
    connect(experiment)  # also writes the views
    found = mlflow.get_experiment_by_name(experiment)
    assert found is not None
    store, fragment = mlflow.get_tracking_uri(), view_fragment(found.experiment_id)
    if store.startswith(("http://", "https://")):
        _show(f"{store}{fragment}")
        return 0
    check_port("127.0.0.1", arguments.port)  # or another program would be taken for MLflow
    address = f"http://127.0.0.1:{arguments.port}"
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "ui", "--port", str(arguments.port)),
            *("--backend-store-uri", store, "--registry-store-uri", store, "--workers", "1"),
            *("--uvicorn-opts", "--log-level warning"),  # no line for each request
        ],
        env={
            **os.environ,
            "PYTHONWARNINGS": "ignore",
            # The jobs of the server are for language models. Without them it starts sooner.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        },
        start_new_session=True,  # Ctrl-C ends only this process, which then ends the server
    )
    try:
        _wait(server, f"{address}/health")
        _show(f"{address}{fragment}")
        print("Ctrl-C ends it.", flush=True)
        return server.wait()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def _wait(server: "subprocess.Popen[bytes]", address: str) -> None:
    """Wait until the server answers.

    Raises:
        UserError: when it ends, or does not answer in time.
    """
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise UserError("MLflow's server has ended, see above")
        try:
            requests.get(address, timeout=1)
            return
        except (requests.ConnectionError, requests.Timeout):
            time.sleep(0.2)
    raise UserError(f"{address} does not answer after {_SECONDS} s")


def _show(address: str) -> None:
    print(f"the runs are at {redact(address)}", flush=True)  # the store's may have a password
    if sys.stdout.isatty():
        webbrowser.open(address)


if __name__ == "__main__":
    cli.run(main)
