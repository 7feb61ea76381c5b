"""What a `_target_` may name: parts of Keras and Optuna, and functions that are meant for it.

Hydra would call anything: a function that reads a pickle, one that writes a file, `builtins.open`.
"""

import ast
from functools import cache
from pathlib import Path

from pipeline.config.sources import Source, find_source, parse_source

_KERAS = {
    *("keras", "keras.activations", "keras.constraints", "keras.initializers", "keras.layers"),
    *("keras.losses", "keras.metrics", "keras.models", "keras.optimizers"),
    *("keras.optimizers.schedules", "keras.regularizers"),
}
_OPTUNA = {"optuna.pruners", "optuna.samplers"}
# Functions of these modules load and save models. Classes have a capital letter.
_CLASSES_ONLY = {"keras", "keras.models", *_OPTUNA}
# They run code that a file or a configuration holds, look up any name, or read a file.
_REFUSED = {
    *("deserialize", "get", "serialize"),
    *("FlaxLayer", "JaxLayer", "Lambda", "TFSMLayer", "TorchModuleWrapper"),
    *("IntegerLookup", "StringLookup", "TextVectorization"),
}
_COMMAND = "main"  # what each command file defines


def refusal(target: str) -> str:
    """Why a `_target_` is refused, and the line that would allow it; "" if it is allowed."""
    source = find_source(target)
    if source.is_own:
        return _refusal_of_own(target, source)
    library = _KERAS | _OPTUNA
    if source.module in library and len(source.rest) == 1:
        [name] = source.rest
        lower = not name[:1].isupper()
        if name not in _REFUSED and not (lower and source.module in _CLASSES_ONLY):
            return ""
    return (
        f"{target} is refused: a `_target_` names a class or function of keras.layers, "
        "keras.optimizers and the like, or of this project. If you trust it, call it in a function "
        f"of your own in pipeline/models.py: `def mine(**settings): return {target}(**settings)`"
    )


def _refusal_of_own(target: str, source: Source) -> str:
    """Why a name in a module of this project is refused."""
    if not source.file or not source.rest:
        return ""  # there is no such function, which the caller says
    module, names = source.module, _defined(source.file)
    where = "pipeline/models.py, or in a module outside of pipeline/"
    package, *inner = module.split(".")
    if package == "pipeline" and (len(inner) > 1 or _COMMAND in names):
        return f"{target} is refused: {module} is part of the pipeline. Write a function in {where}"
    if source.rest[0] in names or not _imported(source):
        return ""
    return (
        f"{target} is refused: {module} only imports it. Write a function that calls it in {where}"
    )


@cache
def _defined(file: Path) -> set[str]:
    """The functions, classes and variables that a module defines itself."""
    names = set()
    for node in ast.walk(parse_source(file)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def _imported(source: Source) -> bool:
    """Whether a module gets the first of the names after it by an import."""
    assert source.file
    return any(
        source.rest[0] == (alias.asname or alias.name.split(".")[0]) or alias.name == "*"
        for node in ast.walk(parse_source(source.file))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    )
