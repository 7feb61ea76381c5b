"""The arguments of each `_target_`, so that they can be checked before heavy imports.

The arguments of this project's functions are declared once, in their signatures. Importing those
modules would import Keras, which takes seconds, so the signatures are read from the source.
"""

import ast
import typing
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Self

from pydantic import ConfigDict, create_model, model_validator

from pipeline.config import types
from pipeline.config.sources import find_source, parse_source
from pipeline.config.types import Fraction, NotNegative, Positive, Section, Steps

# Arguments that the pipeline itself passes to a model.
_PASSED = ("image_shape", "num_classes")


class Optimizer(Section):
    """The arguments that every Keras optimizer has."""

    learning_rate: Positive
    weight_decay: NotNegative | None = None
    clipnorm: Positive | None = None
    clipvalue: Positive | None = None
    global_clipnorm: Positive | None = None

    @model_validator(mode="after")
    def _clips_once(self) -> Self:
        if sum(x is not None for x in (self.clipnorm, self.clipvalue, self.global_clipnorm)) > 1:
            raise ValueError("should have only one of clipnorm, clipvalue and global_clipnorm")
        return self


class Sgd(Optimizer):
    momentum: Fraction = 0.0
    nesterov: bool = False


class Adagrad(Optimizer):
    initial_accumulator_value: NotNegative = 0.1
    epsilon: Positive = 1e-7


class Adam(Optimizer):
    beta_1: Fraction = 0.9
    beta_2: Fraction = 0.999
    epsilon: Positive = 1e-7
    amsgrad: bool = False


class AdamW(Adam):
    weight_decay: NotNegative = 0.004


class CosineDecay(Section):
    initial_learning_rate: NotNegative
    decay_steps: Steps
    alpha: NotNegative = 0.0
    warmup_target: Positive | None = None
    warmup_steps: Steps = 0.0


_KERAS: dict[str, type[Section]] = {
    "keras.optimizers.SGD": Sgd,
    "keras.optimizers.Adagrad": Adagrad,
    "keras.optimizers.Adam": Adam,
    "keras.optimizers.AdamW": AdamW,
    "keras.optimizers.schedules.CosineDecay": CosineDecay,
}


@cache
def arguments_of(target: str) -> type[Section] | None:
    """A pydantic model of the arguments of a target.

    Args:
        target: such as `pipeline.models.mlp` or `keras.optimizers.SGD`.

    Returns:
        None for a target whose arguments are not known here. They are then passed unchecked.
    """
    source = find_source(target)
    if not source.file or not source.is_own or len(source.rest) != 1:
        return _KERAS.get(target)
    [name] = source.rest
    body = parse_source(source.file).body
    for node in body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            extra: Any = "allow" if node.args.kwarg else "forbid"
            return _model(name, _parameters(node.args), extra)
        if isinstance(node, ast.ClassDef) and node.name == name:
            return _class_model(node, {c.name: c for c in body if isinstance(c, ast.ClassDef)})
    return None


def _class_model(node: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> type[Section] | None:
    """The arguments of a dataclass, or of a class with `__init__`; None if it inherits that.

    Args:
        node: the class.
        classes: all classes of its module, by their names.
    """
    if _is_dataclass(node):
        fields = _fields(node, classes)
        return None if fields is None else _model(node.name, [*fields.values()], "forbid")
    for line in node.body:
        if isinstance(line, ast.FunctionDef) and line.name == "__init__":
            _self, *declared = _parameters(line.args)
            return _model(node.name, declared, "allow" if line.args.kwarg else "forbid")
    return None


# A name, its annotation, and whether it has a default.
Declared = tuple[str, ast.expr | None, bool]


def _parameters(arguments: ast.arguments) -> list[Declared]:
    """The parameters of a function."""
    positional = [*arguments.posonlyargs, *arguments.args]
    required = len(positional) - len(arguments.defaults)
    keyword = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return [
        *((arg.arg, arg.annotation, i >= required) for i, arg in enumerate(positional)),
        *((arg.arg, arg.annotation, default is not None) for arg, default in keyword),
    ]


def _is_dataclass(node: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)


def _fields(node: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> dict[str, Declared] | None:
    """The fields of a dataclass with those that it inherits; None if a base is elsewhere."""
    fields: dict[str, Declared] = {}
    for base in reversed(node.bases):  # an earlier base overrides a later one
        known = classes.get(ast.unparse(base))
        inherited = _fields(known, classes) if known else None
        if inherited is None:
            return None
        fields |= inherited
    for line in node.body if _is_dataclass(node) else ():
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            name = line.target.id
            if "ClassVar" not in ast.unparse(line.annotation):
                fields[name] = (name, line.annotation, line.value is not None)
    return fields


def _model(name: str, declared: Sequence[Declared], extra: Any) -> type[Section]:
    fields: dict[str, Any] = {
        argument: (_type(annotation), None if optional else ...)
        for argument, annotation, optional in declared
        if argument not in _PASSED
    }
    base = type(name, (Section,), {"model_config": ConfigDict(extra=extra)})
    return create_model(name, __base__=base, **fields)


def _type(annotation: ast.expr | None) -> Any:
    """The type of an annotation; Any if it uses names outside `types` and `typing`."""
    if annotation is None:
        return Any
    try:
        # Safe: this is the project's own source, which runs the same expression when imported.
        return eval(ast.unparse(annotation), {**vars(typing), **vars(types)})  # noqa: S307
    except (NameError, TypeError, AttributeError):
        return Any
