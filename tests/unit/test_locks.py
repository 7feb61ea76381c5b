"""The locked requirements work with any installer."""

from importlib.metadata import PackageNotFoundError, requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipeline.config.paths import REPOSITORY


def test_extras_that_packages_ask_for_are_locked() -> None:
    """Pip refuses a lock that has `coverage` if a package asks for `coverage[toml]`."""
    lines = (REPOSITORY / "requirements.txt").read_text().splitlines()
    locked = [Requirement(line.rstrip(" \\")) for line in lines if line[:1].isalnum()]
    extras = {canonicalize_name(each.name): each.extras for each in locked}
    missing = []
    for each in locked:
        for text in _requirements(each.name):
            needed = Requirement(text)
            holds = (
                needed.marker is None or needed.marker.evaluate({"extra": extra})
                for extra in ("", *each.extras)
            )
            if needed.extras - extras.get(canonicalize_name(needed.name), set()) and any(holds):
                missing.append(f"{each.name} needs {needed}")
    assert len(locked) > 100
    assert missing == []


def _requirements(name: str) -> list[str]:
    try:
        return requires(name) or []
    except PackageNotFoundError:
        return []  # of another system
