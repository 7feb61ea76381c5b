"""Sweep with Ray Tune: the sampler and the pruner of conf/sweep/default.yaml, two workers.

Examples:
    python -m benchmarks.peers.ray_tune 20 0    # trials, seed
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from benchmarks.peers.training import train_logged
from pipeline.config.composition import compose_sweep
from pipeline.config.instantiation import instantiate_section
from pipeline.sweeps.parsing import parse_space
from pipeline.sweeps.space import Parameter
from pipeline.system.determinism import configure_tensorflow

FOLDER = Path.cwd()
ACCURACY = "val_accuracy"


def main() -> None:
    """Run the sweep."""
    trials, seed = map(int, sys.argv[1:])
    sweep = compose_sweep([f"sweep.sampler.seed={seed}"]).sweep
    sampler = instantiate_section("sampler", sweep.sampler)
    search = OptunaSearch(choose, sampler=sampler, metric=ACCURACY, mode="max")
    # Ray stops a trial at the report of a rung.
    pruner = ASHAScheduler(
        max_t=sweep.params["train.epochs"],
        grace_period=sweep.pruner["min_resource"],
        reduction_factor=sweep.pruner["reduction_factor"],
    )
    tune.Tuner(
        tune.with_resources(trial_of_ray, {"cpu": 1}),
        tune_config=tune.TuneConfig(
            metric=ACCURACY,
            mode="max",
            num_samples=trials,
            max_concurrent_trials=2,  # also where there are more cores
            search_alg=search,
            scheduler=pruner,
            reuse_actors=True,  # so that a process imports TensorFlow once
        ),
        run_config=tune.RunConfig(storage_path=str(FOLDER / "ray"), verbose=0),
    ).fit()


def choose(trial: optuna.Trial) -> dict[str, Any]:
    """Let Optuna choose the values of a trial."""
    space = parse_space(compose_sweep().sweep)
    return {"overrides": space.overrides(partial(Parameter.suggest, trial=trial))}


def trial_of_ray(config: dict[str, Any]) -> None:
    """Train what Ray Tune has chosen, and report each epoch."""
    configure_tensorflow(1)
    overrides = [*config["overrides"], "train.threads=1"]
    train_logged(overrides, FOLDER, lambda accuracy: tune.report({ACCURACY: accuracy}))


if __name__ == "__main__":
    main()
