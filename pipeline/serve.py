"""Serve a model over HTTP, with a page to draw digits on.

Examples:
    python -m pipeline.serve [--model URI...] [--port 8000] [--host 127.0.0.1]

It reads pictures as `predict` does. http://127.0.0.1:8000/ is the page, /docs describes the API. An
alias is followed: with `models:/mnist-classifier@champion`, a new champion answers from then on.
"""

import argparse

from pipeline.artifacts.loading import load_main
from pipeline.config.paths import DEFAULT_MODEL
from pipeline.system import cli
from pipeline.system.port import authority, check_port

_EVERY = 5.0  # seconds between two looks at an alias


def main() -> None:
    """Serve until Ctrl-C or SIGTERM; requests that have begun are answered first."""
    arguments = _parse_arguments()
    check_port(arguments.host, arguments.port)

    import uvicorn

    from pipeline.serving.app import create_app
    from pipeline.serving.models import Models

    models = Models(arguments.model, load_main)
    if any("@" in uri for uri in arguments.model):
        from pipeline.artifacts.recorded import version_of

        models.follow(version_of, _EVERY)
    address = f"http://{authority(arguments.host, arguments.port)}"
    print(f"draw digits at {address}/, the API is described at {address}/docs", flush=True)
    try:
        uvicorn.run(
            create_app(models),
            host=arguments.host,
            port=arguments.port,
            log_level="warning",
            timeout_graceful_shutdown=30,
        )
    finally:
        models.stop()


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m pipeline.serve", description="Serve a model over HTTP."
    )
    parser.add_argument(
        "--model",
        nargs="+",
        default=[DEFAULT_MODEL],
        metavar="URI",
        help="the model that answers, then others that the page shows beside it: a .keras, .tflite "
        "or .onnx file, runs:/<id>/model, models:/<name>@champion or git:<revision> "
        f"(default: {DEFAULT_MODEL})",
    )
    parser.add_argument("--host", default="127.0.0.1", help="default: this machine only")
    parser.add_argument("--port", type=int, default=8000)
    return parser.parse_args()


if __name__ == "__main__":
    cli.run(main)
