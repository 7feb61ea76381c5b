"""The layers, functions and other objects of this project that a model file may name.

A file does not decide which code is imported. It may name a module only if `train` depends on that
module in dvc.yaml, which is a list of the user. The module is then imported, and the object must be
registered in it by `keras.saving.register_keras_serializable`. The rule is the same for the model
of the workspace, of an MLflow run and of an old revision.
"""

from importlib import import_module
from typing import Any

import keras

from pipeline.config.sources import find_source
from pipeline.config.stages import module_name, stage_code
from pipeline.system.errors import describe_error

REGISTER = "@keras.saving.register_keras_serializable()"


def import_own_code(module: Any, name: str, registered_name: str) -> str:
    """Import the module of an object that a model file names, if the project allows it.

    Args:
        module: the module that the file names; None if it names none.
        name: the object in the module.
        registered_name: the name by which Keras finds the object.

    Returns:
        Why Keras must not look the object up, and what to do; "" if it is registered.

    Raises:
        ValueError: when the module cannot be imported.
    """
    allowed = {module_name(file) for file in stage_code("train")}
    if module in allowed:
        try:
            import_module(module)
        except Exception as error:  # the user's code can raise any error
            cause = describe_error(error)
            raise ValueError(f"{module} cannot be imported: {cause}") from error
    if keras.saving.get_registered_object(registered_name) is not None:
        return ""
    refused = f"it names {module}.{name}, which is not a part of Keras that is safe to load, and"
    if module in allowed:
        return f"{refused} is not registered: put {REGISTER} above it"
    source = find_source(str(module))
    if source.is_own and source.rest:
        return f"{refused} this project has no module {module}"
    if source.is_own:
        return (
            f"{refused} train does not depend on {module}: if you trust it, add its file to the "
            "deps of train and of evaluate in dvc.yaml"
        )
    return (
        f"{refused} is not registered by keras.saving.register_keras_serializable "
        "in a module of this project"
    )
