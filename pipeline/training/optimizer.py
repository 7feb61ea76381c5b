"""The optimizer, its learning-rate schedule, and its initial state."""

from pathlib import Path
from typing import Any

import keras

from pipeline.artifacts.keras_file import load_model
from pipeline.config.instantiation import instantiate_section
from pipeline.config.schema import Config
from pipeline.system.errors import UserError


def make_optimizer(cfg: Config, total_steps: int) -> keras.optimizers.Optimizer:
    """Make the configured optimizer, with the configured schedule as its learning rate.

    Args:
        cfg: the configuration; `optimizer` and `schedule` are used.
        total_steps: training steps in all epochs. The `..._steps` of a schedule are shares of this.
    """
    settings = dict(cfg.optimizer)
    if cfg.schedule:
        shares = {key: value for key, value in cfg.schedule.items() if key.endswith("_steps")}
        steps = {key: max(round(share * total_steps), 1) for key, share in shares.items()}
        settings["learning_rate"] = instantiate_section("schedule", {**cfg.schedule, **steps})
    return instantiate_section("optimizer", settings)


def warm_start(model: keras.Model, init: Path, restart: bool) -> None:
    """Start a model from a trained model's weights, and from its optimizer's state if it fits.

    Args:
        model: a compiled model with a built optimizer.
        init: a .keras file of the same network.
        restart: whether to reset the optimizer. A learning-rate schedule needs that, because it
            depends on the step count; so does Adam, which corrects its moments by it.

    Raises:
        UserError: when the weights have different shapes.
    """
    trained = load_model(init)
    if (trained_shapes := _shapes(trained.weights)) != (shapes := _shapes(model.weights)):
        raise UserError(
            f"train.init_from: its weights have the shapes {trained_shapes}, "
            f"but the weights of `model` have {shapes}"
        )
    model.set_weights(trained.get_weights())
    if restart:
        return
    optimizer, before = model.optimizer, trained.optimizer
    state, state_before = _state(optimizer), _state(before)
    if type(before) is not type(optimizer) or _shapes(state) != _shapes(state_before):
        print(f"the {optimizer.name} optimizer starts without the state of train.init_from")
        return
    assign(state, state_before)
    optimizer.iterations.assign(before.iterations)


def assign(variables: list[Any], values: list[Any]) -> None:
    """Assign a value to each variable; both lists have the same order and length."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _state(optimizer: keras.optimizers.Optimizer | None) -> list[Any]:
    """An optimizer's variables, except its step count and its learning rate."""
    if optimizer is None:  # the model was saved without one
        return []
    settings = {"iteration", "learning_rate"}
    return [variable for variable in optimizer.variables if variable.name not in settings]


def _shapes(variables: list[Any]) -> str:
    return ", ".join("×".join(map(str, variable.shape)) or "1" for variable in variables)
