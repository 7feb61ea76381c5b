"""Describe the machine and the packages of a measurement."""

from importlib.metadata import version

from pipeline.system.processor import cpu, usable_cores


def describe(*packages: str) -> str:
    """This machine's cores and processor, and the versions of packages."""
    return f"{machine()}, {versions(*packages)}"


def machine() -> str:
    """This machine's cores and processor."""
    return f"{usable_cores()} cores of {cpu()}"


def versions(*packages: str) -> str:
    """The versions of packages."""
    return ", ".join(f"{name} {version(name)}" for name in packages)
