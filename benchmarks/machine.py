"""Describe the machine and the packages of a measurement."""

import os
from importlib.metadata import version

from pipeline.tracking.environment import cpu


def describe(*packages: str) -> str:
    """This machine's cores and processor, and the versions of packages."""
    return f"{machine()}, {versions(*packages)}"


def machine() -> str:
    """This machine's cores and processor."""
    return f"{os.cpu_count()} cores of {cpu()}"


def versions(*packages: str) -> str:
    """The versions of packages."""
    return ", ".join(f"{name} {version(name)}" for name in packages)
