"""Which modules a model file may name; see also test_inspection.py."""

import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import pytest

from pipeline.artifacts import own_code
from pipeline.artifacts.keras_file import check_savable, load_model, save_model
from pipeline.config import sources, stages
from pipeline.models import sequential
from pipeline.system.errors import UserError
from tests.helpers.model_files import load_error, members, with_config

MODULE = """
import pathlib
import keras
pathlib.Path(__file__).with_name("imported").touch()
@keras.saving.register_keras_serializable()
class Twice(keras.layers.Layer):
    def call(self, inputs):
        return inputs * 2
@keras.saving.register_keras_serializable()
def leaky(x):
    return keras.ops.maximum(x, 0.1 * x)
class Thrice(keras.layers.Layer):
    def call(self, inputs):
        return inputs * 3
@keras.saving.register_keras_serializable()
class Forgetful(keras.layers.Layer):
    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor
    def get_config(self):
        return super().get_config()
@keras.saving.register_keras_serializable()
class OwnSgd(keras.optimizers.SGD):
    pass
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A repository with one module, on which `train` depends; it is forgotten after the test."""
    before = set(keras.saving.get_custom_objects())
    (tmp_path / "own_nets").mkdir()
    (tmp_path / "own_nets/nets.py").write_text(MODULE)
    depend_on(tmp_path, "own_nets/nets.py")
    for module in (stages, sources):
        monkeypatch.setattr(module, "REPOSITORY", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    forget(before)


def depend_on(project: Path, *files: str) -> None:
    deps = {"stages": {"train": {"deps": list(files)}}}
    (project / "dvc.yaml").write_text(json.dumps(deps))


def forget(known: set[str]) -> None:
    """Do as a new process: no module of the project is imported, and nothing is registered."""
    for name in [name for name in sys.modules if name.split(".")[0] == "own_nets"]:
        del sys.modules[name]
    for name in set(keras.saving.get_custom_objects()) - known:
        keras.saving.get_custom_objects().pop(name)


def nets() -> Any:
    from own_nets import nets  # type: ignore[import-not-found]

    return nets


def saved(project: Path, *layers: Any, optimizer: Any = None) -> Path:
    """A model file with these layers, as a process sees it that has not imported the project."""
    known = {n for n in keras.saving.get_custom_objects() if not n.startswith("Custom>")}
    model = sequential((8, 8), 3, [keras.layers.Flatten(), *layers])
    if optimizer:
        model.compile(optimizer, "sparse_categorical_crossentropy")
    save_model(model, project / "model.keras")
    forget(known)
    (project / "own_nets/imported").unlink()
    return project / "model.keras"


def test_layer_function_and_optimizer_of_the_project_are_loaded(project: Path) -> None:
    own = nets()
    layers = [own.Twice(), keras.layers.Dense(4, activation=own.leaky)]
    model = load_model(saved(project, *layers, optimizer=own.OwnSgd(0.1)))
    assert (project / "own_nets/imported").exists()
    assert isinstance(model.layers[2], nets().Twice)
    assert isinstance(model.optimizer, nets().OwnSgd)


def test_module_is_not_imported_if_train_does_not_depend_on_it(project: Path) -> None:
    path = saved(project, nets().Twice())
    depend_on(project)
    assert "add its file to the deps of train and of evaluate in dvc.yaml" in load_error(path)
    assert not (project / "own_nets/imported").exists()


def test_module_that_is_gone_is_named(project: Path) -> None:
    path = saved(project, nets().Twice())
    (project / "own_nets/nets.py").unlink()
    assert "and this project has no module own_nets.nets" in load_error(path)


def test_broken_module_is_named_with_the_cause(project: Path) -> None:
    path = saved(project, nets().Twice())
    (project / "own_nets/nets.py").write_text("import no_such_library\n")
    error = load_error(path)
    assert "own_nets.nets cannot be imported: ModuleNotFoundError: No module named" in error


def test_file_that_names_no_own_code_imports_none(project: Path) -> None:
    nets()
    load_model(saved(project))
    assert not (project / "own_nets/imported").exists()


@pytest.mark.parametrize("name", ["system", "Popen", "Twice"])
def test_module_outside_the_project_is_never_used(project: Path, name: str) -> None:
    path = saved(project, nets().Twice())
    content = members(path)
    config = json.loads(content["config.json"])
    entry = next(e for e in config["config"]["layers"] if e["class_name"] == "Twice")
    entry |= {"module": "antigravity", "class_name": name}  # opens a browser when imported
    error = load_error(with_config(project / "bad.keras", content, config))
    assert "not a part of Keras that is safe to load" in error
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            "Thrice()",
            "own_nets.nets.Thrice, which is not a part of Keras that is safe to load, and is not "
            "registered: put @keras.saving.register",
        ),
        ("Forgetful(2)", "missing 1 required positional argument: 'factor'"),
        ("keras.layers.Dense(3, activation=lambda x: x)", "a layer or function of your own needs"),
        ("keras.layers.Lambda(lambda x: x)", "keras.layers.Lambda"),
    ],
)
def test_model_that_could_not_be_loaded_is_refused_before_the_training(
    project: Path, make: str, message: str
) -> None:
    layer = eval(make, vars(nets()))
    model = sequential((8, 8), 3, [keras.layers.Flatten(), layer])
    with pytest.raises(
        UserError, match=r"^model: it could be trained, but not loaded again: "
    ) as error:
        check_savable(model)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_model_that_can_be_loaded_is_accepted(project: Path) -> None:
    own = nets()
    model = sequential((8, 8), 3, [keras.layers.Flatten(), own.Twice()])
    model.compile(own.OwnSgd(0.1), "sparse_categorical_crossentropy")
    weights = [weight.copy() for weight in model.get_weights()]
    check_savable(model)
    assert all((a == b).all() for a, b in zip(weights, model.get_weights(), strict=True))


def test_decorator_in_the_message_is_one_that_keras_has() -> None:
    assert "register_keras_serializable()" in own_code.REGISTER
    assert callable(keras.saving.register_keras_serializable())
    assert textwrap.dedent(MODULE).count(own_code.REGISTER) == 4
