"""Find and read the source of a dotted name without importing it.

Importing Keras takes seconds, and a mistake in the configuration should be found before that.
"""

import ast
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from pipeline.config.paths import REPOSITORY
from pipeline.system.errors import UserError


class Source(NamedTuple):
    """Where a dotted name leads.

    Attributes:
        module: the part of the name that is a module; "" if there is none.
        file: the source of the module; None if it has none.
        folders: where the submodules of the module are.
        rest: the names after the module.
    """

    module: str
    file: Path | None
    folders: list[Path]
    rest: list[str]

    @property
    def is_own(self) -> bool:
        """Whether the module belongs to this repository, and not to the environment in it."""
        paths = [self.file] if self.file else self.folders
        return any(p.is_relative_to(REPOSITORY) and not p.is_relative_to(sys.prefix) for p in paths)


def find_source(name: str) -> Source:
    """Find the module of a dotted name, such as `pipeline.models.mlp`."""
    parts = name.split(".")
    spec = _top_level(parts[0])
    if spec is None:
        return Source("", None, [], parts)
    count = 1
    while count < len(parts) and spec.submodule_search_locations and parts[count].isidentifier():
        folders = list(spec.submodule_search_locations)
        inner = PathFinder.find_spec(".".join(parts[: count + 1]), folders)
        if inner is None:
            break
        spec, count = inner, count + 1
    file = Path(spec.origin) if spec.has_location and spec.origin else None
    return Source(
        ".".join(parts[:count]),
        file if file and file.suffix == ".py" else None,
        [Path(folder) for folder in spec.submodule_search_locations or []],
        parts[count:],
    )


def _top_level(name: str) -> ModuleSpec | None:
    try:
        return find_spec(name) if name.isidentifier() else None
    except ValueError:  # a module without a specification, such as __main__
        return None


def parse_source(file: Path) -> ast.Module:
    """Parse a Python file.

    Raises:
        UserError: when it is not Python.
    """
    try:
        return ast.parse(file.read_bytes())
    except SyntaxError as error:
        raise UserError(f"{file}, line {error.lineno}: {error.msg}") from None
    except ValueError as error:
        raise UserError(f"{file}: {error}") from None


def defined_names(file: Path) -> list[str] | None:
    """The names that a module defines or imports; None if its source does not tell."""
    names: list[str] = []
    todo: list[ast.stmt] = list(parse_source(file).body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names += [alias.asname or alias.name.split(".")[0] for alias in node.names]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            names += [inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)]
        else:  # `if`, `try` and `with` contain statements
            todo += [child for child in ast.walk(node) if isinstance(child, ast.stmt)][1:]
    return None if {"*", "__getattr__"} & {*names} else names


def imported_files(file: Path) -> Iterator[Path]:
    """The files of the repository that a file of the repository imports."""
    package = file.relative_to(REPOSITORY).parent.parts
    for node in ast.walk(parse_source(file)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = list(package[: len(package) + 1 - node.level]) if node.level else []
            start += [node.module] if node.module else []
            names = [".".join([*start, alias.name]) for alias in node.names]
        for source in map(find_source, names):
            if source.file and source.is_own:
                yield source.file
