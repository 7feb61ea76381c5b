"""The arguments of each `_target_`, so that they can be checked before heavy imports.

The arguments of this project's functions are declared once, in their signatures. Importing those
modules would import Keras, which takes ten seconds, so the signatures are read from the source.
"""

import ast
import typing
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
    for node in parse_source(source.file).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            extra: Any = "allow" if node.args.kwarg else "forbid"
            return _model(name, _parameters(node.args), extra)
        if isinstance(node, ast.ClassDef) and node.name == name:
            return _class_model(node)
    return None


def _class_model(node: ast.ClassDef) -> type[Section] | None:
    """The arguments of a dataclass, or of a class with `__init__`; None if it inherits that."""
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        return _model(node.name, _fields(node), "forbid")
    for line in node.body:
        if isinstance(line, ast.FunctionDef) and line.name == "__init__":
            _self, *declared = _parameters(line.args)
            return _model(node.name, declared, "allow" if line.args.kwarg else "forbid")
    return None


Declared = list[tuple[str, ast.expr | None, bool]]  # name, annotation, whether it has a default


def _parameters(arguments: ast.arguments) -> Declared:
    """The parameters of a function."""
    positional = [*arguments.posonlyargs, *arguments.args]
    required = len(positional) - len(arguments.defaults)
    keyword = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return [
        *((arg.arg, arg.annotation, i >= required) for i, arg in enumerate(positional)),
        *((arg.arg, arg.annotation, default is not None) for arg, default in keyword),
    ]


def _fields(node: ast.ClassDef) -> Declared:
    """The fields of a dataclass."""
    return [
        (line.target.id, line.annotation, line.value is not None)
        for line in node.body
        if isinstance(line, ast.AnnAssign)
        and isinstance(line.target, ast.Name)
        and "ClassVar" not in ast.unparse(line.annotation)
    ]


def _model(name: str, declared: Declared, extra: Any) -> type[Section]:
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
