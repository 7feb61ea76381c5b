"""The environment of a run: what its results depend on besides configuration and data."""

import getpass
import platform
import sys
from functools import cache
from importlib.metadata import version

from pipeline.system.git import ask_git
from pipeline.system.processor import cpu, usable_cores
from pipeline.system.versions import tensorflow_requirement
from pipeline.tracking.changes import uncommitted

_PACKAGES = ("keras", "numpy", "mlflow", "dvc", "hydra-core")


def environment_tags(threads: int) -> dict[str, str]:
    """The tags of a run that say where it ran: commit, processor, threads, versions, user.

    Args:
        threads: the number of TensorFlow threads, as returned by `configure_tensorflow`.
    """
    # Always "true": `configure_tensorflow` turns determinism on, without an option.
    return {
        **source_tags(),
        **commit_tags(),
        **_environment(),
        "threads": str(threads),
        "deterministic": "true",
    }


def source_tags() -> dict[str, str]:
    """MLflow's documented tags of who ran what. The fluent API sets them; the client does not."""
    return {
        "mlflow.user": getpass.getuser(),
        "mlflow.source.name": sys.argv[0],
        "mlflow.source.type": "LOCAL",
    }


@cache
def commit_tags() -> dict[str, str]:
    """The last commit, and whether there are changes on top of it."""
    return {
        "mlflow.source.git.commit": ask_git("rev-parse", "--verify", "--quiet", "HEAD"),
        "git.dirty": str(bool(uncommitted())).lower(),
    }


@cache
def _environment() -> dict[str, str]:
    return {
        "cpu": cpu(),
        "cpu.cores": str(usable_cores()),
        "version.python": platform.python_version(),
        "version.tensorflow": tensorflow_requirement().partition("==")[2],
        **{f"version.{name}": version(name) for name in _PACKAGES},
    }
