"""Check that each `_target_` exists, and that the stages which run it depend on its file."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.config.allowed import refusal
from pipeline.config.paths import REPOSITORY, git_hint
from pipeline.config.schema import Config
from pipeline.config.sources import Source, defined_names, find_source, imported_files
from pipeline.config.stages import stage_code
from pipeline.system.errors import UserError, nearest

# The stages that run the code which a section names. `evaluate` reads the model file, which names
# all but the augmentation.
_STAGES = {
    "model": ("train", "evaluate"),
    "optimizer": ("train", "evaluate"),
    "schedule": ("train", "evaluate"),
    "augment": ("train",),
}
# Code that changes no result, or on which `compose` depends.
_NO_DEPENDENCY = ("pipeline/__init__.py", "pipeline/config/", "pipeline/system/")


def check_targets(cfg: Config, file_of: Callable[[str], str]) -> None:
    """Check the `_target_`s of the sections that the stages run.

    Args:
        cfg: the configuration.
        file_of: returns the file, or "the command line", that a key comes from.

    Raises:
        UserError: when a target does not exist, or when a stage does not depend on its file or on
            a file that it imports. DVC would not rerun the stage after an edit.
    """
    code = {stage: {*stage_code(stage)} for stage in ("train", "evaluate")}
    for section, stages in _STAGES.items():
        for key, target in _targets(getattr(cfg, section), section):
            source = find_source(target)
            problem = _missing(source) or refusal(target) or _undeclared(source, stages, code)
            if problem:
                raise UserError(f"{key} ({file_of(key)}): {problem}")


def _targets(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """The keys of all `_target_`s in a section, and what they name."""
    items = dict(enumerate(value)) if isinstance(value, list) else value
    for name, item in items.items() if isinstance(items, dict) else ():
        if name == "_target_" and isinstance(item, str):
            yield f"{key}._target_", item
        yield from _targets(item, f"{key}.{name}")


@cache
def _names(file: Path) -> list[str] | None:
    return defined_names(file)


def _missing(source: Source) -> str:
    """Why a target does not exist; "" if it does, or if its source does not tell."""
    if not source.rest:
        return f"{source.module} is a module: name a function or a class in it"
    name, package = source.rest[0], source.module.replace(".", "/")
    if not source.module and len(source.rest) == 1:
        return f"{name!r} is not a full name, such as pipeline.models.mlp"
    if not source.module:
        modules = [path.parent.name for path in REPOSITORY.glob("*/__init__.py")]
        modules += [path.stem for path in REPOSITORY.glob("*.py")]
        hint = git_hint(f"{name}.py") or git_hint(name) or _suggest(name, [*modules, "keras"], 0)
        return f"there is no module {name!r}{hint}"
    if not source.is_own and source.module.split(".")[0] != "keras":
        return ""
    names = _names(source.file) if source.file else []
    if names is None or name in names:
        return ""
    if len(source.rest) > 1:
        names = [path.stem for folder in source.folders for path in folder.glob("[!_]*")]
    return f"there is no {name!r} in {source.module}" + (
        git_hint(f"{package}/{name}.py") or _suggest(name, names)
    )


def _suggest(name: str, names: list[str], most: int = 20) -> str:
    """The nearest names; all names if none is near and there are not more than `most`."""
    hint = nearest(name, names)
    return hint if "did you mean" in hint or len(names) <= most else ""


def _undeclared(source: Source, stages: tuple[str, ...], code: dict[str, set[Path]]) -> str:
    """Which files of a target a stage does not depend on; "" if it depends on all."""
    if not source.file or not source.is_own:
        return ""
    needed = _needed(source.file)
    missing = sorted(set[Path]().union(*(needed - code[stage] for stage in stages)))
    if not missing:
        return ""
    names = [path.relative_to(REPOSITORY).as_posix() for path in missing]
    lines = " and ".join(f"`- {name}`" for name in names)
    return (
        f"DVC would not see edits of {' and '.join(names)}: in dvc.yaml, add {lines} "
        f"to the deps of {' and of '.join(stages)}"
    )


@cache
def _needed(file: Path) -> frozenset[Path]:
    """A file and the files of the repository that it imports, except those of `_NO_DEPENDENCY`."""
    found: set[Path] = set()
    todo = [file]
    while todo:
        path = todo.pop()
        name = path.relative_to(REPOSITORY).as_posix()
        if path not in found and not name.startswith(_NO_DEPENDENCY) and path.stat().st_size:
            found.add(path)
            todo += imported_files(path)
    return frozenset(found)
