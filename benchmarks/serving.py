"""Requests a second of `make serve` and of `mlflow models serve`, for the same pixels.

Examples:
    python -m benchmarks.serving [--seconds 10] [--rounds 3]

Both serve the champion of this workspace's store. wrk (Debian's package) sends one image in each
request over 8 connections, to the two servers in turn. It prints the medians of the rounds.
"""

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import requests

from benchmarks.machine import describe
from pipeline.config.paths import repository_root
from pipeline.data.splits import load_split
from pipeline.system.errors import UserError
from pipeline.tracking.sqlite_store import sqlite_uri

MODEL = "models:/mnist-classifier@champion"
PORTS = {"serve": 8790, "serve, a photo": 8790, "mlflow models serve": 8791}
SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "{form}"
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
file:close()
"""


def main() -> None:
    """Print requests a second and the 99th percentile of the time for each server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--photo", type=Path, help="a picture file, sent to `serve` as it is")
    arguments = parser.parse_args()
    if not shutil.which("wrk"):
        raise UserError("wrk is not installed: apt-get install wrk")
    pixels = np.asarray(load_split(Path("data/prepared"), "validation").images[0]).tolist()
    bodies = {
        "serve": ("/predict/pixels", json.dumps({"pixels": [pixels]}).encode()),
        "mlflow models serve": ("/invocations", json.dumps({"inputs": [pixels]}).encode()),
    }
    if arguments.photo:
        bodies["serve, a photo"] = ("/predict", arguments.photo.read_bytes())
    commands = [
        [sys.executable, "-m", "pipeline.serve", "--port", "8790", "--model", MODEL],
        ["mlflow", "models", "serve", "--env-manager", "local", "-m", MODEL, "-p", "8791"],
    ]
    store = sqlite_uri(repository_root() / "mlflow.db")
    servers = [
        subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "MLFLOW_TRACKING_URI": store},
        )
        for command in commands
    ]
    try:
        for address in ("http://127.0.0.1:8790/health", "http://127.0.0.1:8791/ping"):
            wait_for(address)
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in bodies}
        for _ in range(arguments.rounds):
            for name, (path, body) in bodies.items():
                found[name].append(load(PORTS[name], path, body, arguments.seconds))
    finally:
        for server in servers:
            os.killpg(server.pid, signal.SIGTERM)
    print(describe("fastapi", "mlflow", "ai-edge-litert", "tensorflow-cpu"))
    for name, rounds in found.items():
        rates, slowest = zip(*rounds, strict=True)
        print(
            f"{name}: {statistics.median(rates):.0f} requests a second, 99th percentile "
            f"{statistics.median(slowest):.1f} ms"
        )


def wait_for(address: str) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with suppress(requests.ConnectionError):
            requests.get(address, timeout=5)
            return
        time.sleep(0.5)
    raise UserError(f"{address} does not answer")


def load(port: int, path: str, body: bytes, seconds: int) -> tuple[float, float]:
    """Send requests with wrk; requests a second, and the 99th percentile in milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        content, script = Path(folder) / "body", Path(folder) / "post.lua"
        content.write_bytes(body)
        form = "image/jpeg" if path == "/predict" else "application/json"
        script.write_text(SCRIPT.format(form=form, body=content))
        command = ["wrk", "-t1", "-c8", f"-d{seconds}s", "--latency", "-s", str(script)]
        shown = subprocess.run(
            [*command, f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=True
        ).stdout
    if "Non-2xx" in shown:
        raise UserError(f"{path} refused requests: {shown}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", shown)
    slow = re.search(r"99%\s+([\d.]+)(us|ms|s)", shown)
    assert rate is not None
    assert slow is not None
    return float(rate[1]), float(slow[1]) * {"us": 1e-3, "ms": 1, "s": 1e3}[slow[2]]


if __name__ == "__main__":
    main()
