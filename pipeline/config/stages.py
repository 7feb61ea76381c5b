"""The stages and the code that each depends on, read from dvc.yaml, which has the only list."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from pipeline.config.paths import COMPOSED, REPOSITORY
from pipeline.system.errors import UserError, one_line


def stage_names() -> list[str]:
    """The stages in the order in which they run."""
    return list(_stages())


def stage_code(stage: str) -> list[Path]:
    """The Python files that a stage depends on, sorted by path."""
    deps = [REPOSITORY / name for name in _stages()[stage]["deps"]]
    files = {file for path in deps for file in ([path] if path.is_file() else path.rglob("*.py"))}
    return sorted(file for file in files if file.suffix == ".py")


def module_name(file: Path) -> str:
    """The name by which a Python file of the repository is imported, such as `pipeline.models`."""
    parts = file.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def output_paths() -> list[str]:
    """The files and folders that the stages write."""
    entries = [
        entry
        for stage in _stages().values()
        for kind in ("outs", "metrics", "plots")
        for entry in stage.get(kind, [])
    ]
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def input_folders() -> set[str]:
    """The top-level files and folders that stages read and do not write, such as `conf`."""
    written = set(map(Path, output_paths()))
    deps = {Path(dep) for stage in _stages().values() for dep in stage.get("deps", [])}
    return {dep.parts[0] for dep in deps - written}


def tracked_keys() -> list[str]:
    """The keys of composed.yaml on which a stage depends: the settings that can change a result."""
    params = [entry for stage in _stages().values() for entry in stage.get("params", [])]
    return sorted({key for entry in params for key in entry.get(COMPOSED, [])})


def _stages() -> dict[str, Any]:
    try:
        return _parse((REPOSITORY / "dvc.yaml").read_text("utf-8"))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise UserError(
            f"dvc.yaml cannot be read: {one_line(error)}; "
            "`git restore dvc.yaml` restores the one of the last commit"
        ) from None


@cache  # a sweep composes, and so reads this file, hundreds of times
def _parse(text: str) -> dict[str, Any]:
    stages: dict[str, Any] = yaml.safe_load(text)["stages"]
    stages.keys()  # an AttributeError unless they have names
    return stages
