"""The plan of a sweep, made before it starts: settings, space, and what all trials share."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna

from pipeline.config.composition import compose, compose_sweep
from pipeline.config.overrides import key_of, merge_overrides, quote_text, with_params
from pipeline.config.paths import CONF, repository_root
from pipeline.config.schema import Config, Launcher, Sweep, SweepConfig
from pipeline.sweeps.parsing import drop_overridden, parse_space
from pipeline.sweeps.preflight import check_space, dry_run
from pipeline.sweeps.space import Params, Space
from pipeline.sweeps.storage import Store
from pipeline.sweeps.task import SWEEPS_FOLDER
from pipeline.sweeps.warm_start import starting_points
from pipeline.system.errors import UserError
from pipeline.system.processor import usable_cores

_SECTIONS = ("sweep", "launcher")


@dataclass(frozen=True)
class Plan:
    """A sweep that has passed all checks and can start.

    Attributes:
        sweep: the settings of the sweep.
        launcher: where the workers run.
        space: the parameters of the sweep.
        base: the overrides that all trials share.
        cfg: the configuration that `base` composes to.
        starting_points: the parameters of `sweep.enqueue`.
        threads: TensorFlow threads in each worker.
        store: where the study is kept.
    """

    sweep: Sweep
    launcher: Launcher
    space: Space
    base: list[str]
    cfg: Config
    starting_points: list[Params]
    threads: int
    store: Store

    @property
    def results(self) -> Path:
        """The folder for the table of trials and the plots."""
        return self.store.folder / "results"


def make_plan(arguments: Sequence[str], params: Path) -> Plan:
    """Compose and check a sweep.

    Args:
        arguments: overrides of the sweep, the launcher, or the keys that all trials share.
        params: the params.yaml file, which applies to all trials.

    Raises:
        UserError: for anything that would stop the sweep or its trials later.
    """
    arguments = [quote_text(text) for text in arguments]
    of_sweep = [text for text in arguments if key_of(text).split(".")[0] in _SECTIONS]
    shared = [text for text in arguments if text not in of_sweep]
    compose(shared, params)  # its errors say which values are from the params file
    return plan_sweep(compose_sweep(of_sweep), with_params(params, shared), shared)


def plan_sweep(
    settings: SweepConfig, base: list[str], shared: Sequence[str] = (), conf: Path = CONF
) -> Plan:
    """Check a sweep.

    Args:
        settings: the settings of the sweep and of its launcher.
        base: the overrides that all trials share.
        shared: those of `base` that the command line has. They replace values of the sweep.
        conf: the folder of config groups.

    Raises:
        UserError: for anything that would stop the sweep or its trials later.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # trials are reported by `progress`
    threads = compose(base, conf=conf).train.threads or _worker_threads(settings)
    base = merge_overrides(base, [f"train.threads={threads}"])
    sweep, launcher = drop_overridden(settings.sweep, shared, conf), settings.launcher
    space = parse_space(sweep, conf)
    check_space(space, sweep, base, conf)
    points = starting_points(sweep, space, base, conf)
    dry_run(space, sweep)
    if launcher.storage and "://" not in os.environ.get("MLFLOW_TRACKING_URI", ""):
        raise UserError(
            "machines that share a study must share an MLflow server: set MLFLOW_TRACKING_URI"
        )
    store = Store(repository_root() / SWEEPS_FOLDER / sweep.name, sweep.name, launcher.storage)
    cfg = compose(base, conf=conf)
    return Plan(sweep, launcher, space, base, cfg, points, threads, store)


def _worker_threads(settings: SweepConfig) -> int:
    """TensorFlow threads per worker: its share of the cores, or one on a cluster."""
    if settings.launcher.backend != "local":
        return 1
    return max(usable_cores() // settings.sweep.workers, 1)
