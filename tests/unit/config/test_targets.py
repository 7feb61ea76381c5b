import dataclasses
import inspect
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError

from pipeline import augment, models
from pipeline.config.paths import REPOSITORY
from pipeline.config.targets import arguments_of
from pipeline.config.types import Section

PASSED = {"image_shape", "num_classes"}  # by the pipeline; a configuration does not set them


def members_of(module: Any, kind: Callable[[Any], bool]) -> list[Any]:
    """The public functions or classes that a module itself defines."""
    members = inspect.getmembers(module, kind)
    return [m for name, m in members if m.__module__ == module.__name__ and name[0] != "_"]


FUNCTIONS = [
    *members_of(models, inspect.isfunction),
    *members_of(augment, inspect.isfunction),
]
DATACLASSES = [
    *members_of(models, dataclasses.is_dataclass),
    *members_of(augment, dataclasses.is_dataclass),
]


def target_of(member: Any) -> str:
    return f"{member.__module__}.{member.__name__}"


def arguments(target: str) -> type[Section]:
    found = arguments_of(target)
    assert found is not None
    return found


def required(model: type[Section]) -> dict[str, bool]:
    """The names of the arguments in order, and whether each is required."""
    return {name: field.is_required() for name, field in model.model_fields.items()}


def schema_of(type_: Any) -> Any:
    """What pydantic checks of a type; None for a type that it cannot check."""
    try:
        return TypeAdapter(type_).json_schema()
    except PydanticSchemaGenerationError:
        return None


def assert_types(model: type[Section], hints: dict[str, Any]) -> None:
    read = model.model_json_schema()["properties"]
    for name in model.model_fields:
        expected = schema_of(hints[name])
        if expected is not None:
            checks = {k: v for k, v in read[name].items() if k not in ("title", "default")}
            assert checks == expected, f"{model.__name__}.{name}"


@pytest.mark.parametrize("function", FUNCTIONS, ids=target_of)
def test_arguments_are_those_of_the_imported_function(function: Callable[..., Any]) -> None:
    model = arguments(target_of(function))
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in PASSED
    }
    open_ended = [name for name, p in parameters.items() if p.kind is p.VAR_KEYWORD]
    assert required(model) == {
        name: parameter.default is parameter.empty
        for name, parameter in parameters.items()
        if name not in open_ended
    }
    assert model.model_config["extra"] == ("allow" if open_ended else "forbid")
    assert_types(model, typing.get_type_hints(function, include_extras=True))


@pytest.mark.parametrize("class_", DATACLASSES, ids=target_of)
def test_arguments_are_the_fields_of_the_imported_dataclass(class_: Any) -> None:
    model = arguments(target_of(class_))
    assert required(model) == {
        field.name: field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
        for field in dataclasses.fields(class_)
    }
    assert model.model_config["extra"] == "forbid"
    assert_types(model, typing.get_type_hints(class_, include_extras=True))


def test_models_and_augmentation_are_found() -> None:
    """The two tests above would pass if there was nothing to compare."""
    assert {"mlp", "cnn", "rnn", "sequential"} <= {member.__name__ for member in FUNCTIONS}
    assert "Affine" in {member.__name__ for member in DATACLASSES}


def test_signatures_are_read_without_importing_keras() -> None:
    code = (
        "import sys\n"
        "from pipeline.config.targets import arguments_of\n"
        "print(*arguments_of('pipeline.models.mlp').model_fields)\n"
        "print(*arguments_of('pipeline.augment.Affine').model_fields)\n"
        "print(*{'keras', 'tensorflow', 'pipeline.models', 'pipeline.augment'} & {*sys.modules})"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    mlp, affine, imported = output.split("\n")[:3]
    assert mlp.split()[:3] == ["depth", "width", "activation"]
    assert affine.split() == ["shift", "rotation", "scale", "interpolation"]
    assert imported == ""


MLP = {"depth": 2, "width": 5}


@pytest.mark.parametrize(
    ("target", "values"),
    [
        ("pipeline.models.mlp", MLP),
        ("pipeline.models.mlp", {**MLP, "dropout": 0.5, "activation": "tanh", "use_bias": False}),
        ("pipeline.models.mlp", {**MLP, "kernel_initializer": {"_target_": "a.b"}}),
        ("pipeline.models.sequential", {"layers": [], "any": {"other": 3}}),
        ("pipeline.augment.Affine", {"shift": 0}),
        ("keras.optimizers.SGD", {"learning_rate": 0.1, "momentum": 0.9}),
        ("keras.optimizers.AdamW", {"learning_rate": 1, "weight_decay": 0.1, "clipnorm": 1.0}),
        (
            "keras.optimizers.schedules.CosineDecay",
            {"initial_learning_rate": 0.0, "decay_steps": 0.75, "warmup_target": 0.1},
        ),
    ],
)
def test_valid_arguments_are_accepted(target: str, values: dict[str, Any]) -> None:
    arguments(target).model_validate(values)


@pytest.mark.parametrize(
    ("target", "values", "message"),
    [
        ("pipeline.models.mlp", {"depth": 2}, r"width\s+Field required"),
        ("pipeline.models.mlp", {**MLP, "units": 3}, r"units\s+Extra inputs"),
        ("pipeline.models.mlp", {**MLP, "image_shape": [8, 8]}, r"image_shape\s+Extra inputs"),
        ("pipeline.models.mlp", {**MLP, "depth": 65}, r"depth\s+.*less than or equal to 64"),
        ("pipeline.models.mlp", {**MLP, "depth": "2"}, r"depth\s+.*valid integer"),
        ("pipeline.models.mlp", {**MLP, "depth": None}, r"depth\s+.*valid integer"),
        ("pipeline.models.mlp", {**MLP, "dropout": 1.0}, r"dropout\s+.*less than 1"),
        ("pipeline.models.mlp", {**MLP, "activation": "gelu"}, r"activation\s+.*'relu' or 'tanh'"),
        ("pipeline.models.mlp", {**MLP, "use_bias": 1}, r"use_bias\s+.*valid boolean"),
        (
            "pipeline.models.mlp",
            {**MLP, "kernel_initializer": "zeros"},
            r"kernel_initializer\s+.*should be a mapping with a `_target_`",
        ),
        ("pipeline.models.mlp", {**MLP, "width": 0}, r"width\s+.*should not be 0"),
        (
            "pipeline.models.cnn",
            {"filters": [4, 6], "kernel_sizes": [3, 3], "strides": [1], "units": 5},
            r"strides\s+.*should have as many values as filters, 2",
        ),
        ("pipeline.models.sequential", {"any": 3}, r"layers\s+Field required"),
        ("pipeline.augment.Affine", {"shift": 65}, r"shift\s+.*less than or equal to 64"),
        ("pipeline.augment.Affine", {"shift": 1, "draws": 4}, r"draws\s+Extra inputs"),
        ("keras.optimizers.SGD", {}, r"learning_rate\s+Field required"),
        ("keras.optimizers.SGD", {"learning_rate": 0.0}, r"learning_rate\s+.*greater than 0"),
        (
            "keras.optimizers.Adam",
            {"learning_rate": float("inf")},
            r"learning_rate\s+.*less than or equal to 34000",
        ),
        (
            "keras.optimizers.SGD",
            {"learning_rate": 0.1, "clipnorm": 1.0, "clipvalue": 1.0},
            "should have only one of clipnorm",
        ),
        (
            "keras.optimizers.AdamW",
            {"learning_rate": 0.1, "weight_decay": None},
            r"weight_decay\s+.*valid number",
        ),
        (
            "keras.optimizers.Adam",
            {"learning_rate": 0.1, "momentum": 0.9},
            r"momentum\s+Extra inputs",
        ),
    ],
)
def test_bad_argument_is_refused_by_name(target: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        arguments(target).model_validate(values)


@pytest.mark.parametrize(
    "target",
    [
        "",
        "mlp",
        "mine.network",
        "keras.optimizers.RMSprop",
        "pipeline.models.no_such_function",
        "pipeline.models.Shape",
        "pipeline.no_such_module.network",
        "pipeline.models",
        "pipeline.\0.network",
    ],
)
def test_unknown_target_is_not_checked(target: str) -> None:
    assert arguments_of(target) is None


def test_arguments_of_a_class_are_those_of_its_init(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_sgd.py").write_text(
        "class Sgd(Base):\n"
        "    nesterov: bool\n"
        "    def __init__(self, learning_rate: float, momentum=0.5, **kwargs): ...\n"
        "class Inherits(Sgd): ...\n"
    )
    monkeypatch.setattr("pipeline.config.sources.REPOSITORY", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    model = arguments("own_sgd.Sgd")
    assert required(model) == {"learning_rate": True, "momentum": False}
    assert model.model_config["extra"] == "allow"
    assert arguments_of("own_sgd.Inherits") is None


def test_dataclass_also_has_the_fields_of_its_bases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = """
from dataclasses import dataclass
from typing import ClassVar
class Plain:
    no_field: int = 1
@dataclass
class Shift:
    shift: int
    rotation: float = 0.0
@dataclass
class Noise(Plain):
    noise: float = 0.1
    draws: ClassVar[int] = 4
@dataclass
class Both(Shift, Noise):
    shift: int = 2
    mine: int = 3
@dataclass
class Elsewhere(Unknown):
    mine: int = 3
"""
    (tmp_path / "own_augment.py").write_text(source)
    monkeypatch.setattr("pipeline.config.sources.REPOSITORY", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    namespace: dict[str, Any] = {}
    exec(source.partition("@dataclass\nclass Elsewhere")[0], namespace)
    for name in ("Shift", "Noise", "Both"):
        parameters = inspect.signature(namespace[name]).parameters
        assert required(arguments(f"own_augment.{name}")) == {
            key: parameter.default is parameter.empty for key, parameter in parameters.items()
        }
    assert arguments_of("own_augment.Elsewhere") is None
