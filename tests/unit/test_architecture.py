"""What CONTRIBUTING.md promises about the code. `make lint` holds the order of the packages."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.config.paths import REPOSITORY

MODULES = sorted((REPOSITORY / "pipeline").rglob("*.py"))
PACKAGES = sorted((REPOSITORY / "pipeline").glob("*/__init__.py"))
MAX_LINES_OF_A_FILE = 350
MAX_LINES_OF_A_FUNCTION = 60
# Parts of libraries that they do not promise to keep.
PRIVATE = (
    "hydra._internal",
    "joblib.externals",
    "mlflow.store",
    "mlflow.tracking.context",
    "mlflow.utils",
    "optuna.storages._heartbeat",
    "tensorflow.python",
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def name(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, Function):
            yield node


def imported(tree: ast.AST) -> Iterator[str]:
    """The full names of what is imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_module_is_short_and_says_what_it_is_about(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_LINES_OF_A_FILE
    assert ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_functions_are_short(path: Path) -> None:
    lengths = {f.name: (f.end_lineno or 0) - f.lineno + 1 for f in functions(path)}
    assert {k: n for k, n in lengths.items() if n > MAX_LINES_OF_A_FUNCTION} == {}


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_only_a_main_imports_late(path: Path) -> None:
    """So that `--help` and mistakes need no TensorFlow, and all other imports are in one place."""
    late = {f.name for f in functions(path) if any(imported(f))}
    assert {f for f in late if f != "main" and not f.endswith("_main")} == set()
    assert "TYPE_CHECKING" not in path.read_text()


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_private_part_of_a_library_is_imported(path: Path) -> None:
    names = list(imported(ast.parse(path.read_text())))
    assert [n for n in names if n.startswith(PRIVATE) or "._" in n] == []


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_private_attribute_of_another_object_is_used(path: Path) -> None:
    private = {
        f"{ast.unparse(node.value)}.{node.attr}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and ast.unparse(node.value) not in ("self", "cls")
    }
    assert private == set()


@pytest.mark.parametrize(
    "package", sorted((REPOSITORY / "pipeline").glob("*/__init__.py")), ids=name
)
def test_package_says_what_belongs_in_it(package: Path) -> None:
    """In its docstring, and nothing else is in its `__init__.py`."""
    [docstring] = ast.parse(package.read_text()).body
    assert isinstance(docstring, ast.Expr)
