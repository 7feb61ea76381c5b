"""Sweep with KerasTuner: its Hyperband (Li et al., 2018), on the space of conf/sweep/default.yaml.

Examples:
    python -m benchmarks.peers.keras_tuner_hyperband 20 0    # trials, seed
"""

import math
import sys
from pathlib import Path
from typing import Any

import keras_tuner

from benchmarks.peers.training import train_logged
from pipeline.config.composition import compose_sweep
from pipeline.config.overrides import merge_overrides
from pipeline.sweeps.parsing import parse_space
from pipeline.sweeps.space import Parameter, Space, Value
from pipeline.system.determinism import configure_tensorflow

FOLDER = Path.cwd()
ACCURACY = "val_accuracy"
EPOCHS = 3
PER_ROUND = 5  # combinations in a round of Hyperband with 3 epochs and a factor of 3


class Hyperband(keras_tuner.Hyperband):
    """Trains what KerasTuner has chosen, for as many epochs as it says."""

    space: Space

    def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Train one trial. A promoted trial is trained again from its first epoch."""
        chosen = trial.hyperparameters.values

        def value_of(parameter: Parameter) -> Value:
            return chosen[parameter.name] if parameter.distribution else parameter.values[0]

        overrides = self.space.overrides(value_of)
        epochs = f"train.epochs={chosen['tuner/epochs']}"
        return {ACCURACY: train_logged(merge_overrides(overrides, [epochs]), FOLDER)}


def main() -> None:
    """Run as many rounds as give the number of trials."""
    trials, seed = map(int, sys.argv[1:])
    configure_tensorflow(None)
    space = parse_space(compose_sweep().sweep)
    tuner = Hyperband(
        hyperparameters=hyperparameters(space),
        objective=keras_tuner.Objective(ACCURACY, "max"),
        max_epochs=EPOCHS,
        factor=3,
        hyperband_iterations=math.ceil(trials / PER_ROUND),
        seed=seed,
        directory=str(FOLDER / "keras_tuner"),
    )
    tuner.space = space
    tuner.search()


def hyperparameters(space: Space) -> keras_tuner.HyperParameters:
    """The space of a sweep in the terms of KerasTuner."""
    hp = keras_tuner.HyperParameters()
    for parameter in space.parameters:
        if parameter.condition:
            key, values = parameter.condition
            [parent] = [each.name for each in space.parameters if each.target == key]
            with hp.conditional_scope(parent, values):
                _add(hp, parameter)
        elif parameter.distribution:
            _add(hp, parameter)
    return hp


def _add(hp: keras_tuner.HyperParameters, parameter: Parameter) -> None:
    if parameter.is_number:
        low, high = parameter.values
        sampling = "log" if parameter.is_logarithmic else "linear"
        hp.Float(parameter.name, low, high, sampling=sampling)
    else:
        hp.Choice(parameter.name, list(parameter.values))


if __name__ == "__main__":
    main()
