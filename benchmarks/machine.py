"""What a measurement was made on."""

import os
from importlib.metadata import version

from pipeline.tracking.environment import cpu


def describe(*packages: str) -> str:
    """This machine's processor, and the versions of packages."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"{os.cpu_count()} cores of {cpu()}, {versions}"
