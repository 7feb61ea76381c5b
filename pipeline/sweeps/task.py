"""What a worker of a sweep needs to know; it can be sent to another process or machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.composition import compose
from pipeline.config.overrides import merge_overrides
from pipeline.config.schema import INITIAL_MODEL, Config, Sweep
from pipeline.sweeps.parsing import parse_space
from pipeline.sweeps.storage import Store

SWEEPS_FOLDER = ".sweeps"
REPLACE = "this process has run `Task.max_trials` trials"  # what its worker returns


@dataclass(frozen=True)
class Task:
    """What a worker needs to know.

    Attributes:
        store: where the study is kept.
        sweep: the settings of the sweep.
        base: the overrides that all trials share.
        prepared: the folder of the prepared data on the machine that started the sweep.
        digest: the digest of the prepared data.
        initial: SHA-256 of the model of `train.init_from`; "" if there is none.
        threads: number of TensorFlow threads.
        tracking_uri: the URI of the MLflow store.
        parent_run: the id of the sweep's MLflow run; "" if the store did not answer.
        session: the id of this session. Several sessions may work on the same study.
        parent: the identity of the process that started the sweep, if workers must end with it.
            None on a cluster, whose processes do not belong to the sweep.
        max_trials: trials that a process of this machine runs before a new one replaces it.
            TensorFlow keeps some 8 MB of each training until the process ends.
    """

    store: Store
    sweep: Sweep
    base: list[str]
    prepared: Path
    digest: str
    initial: str
    threads: int
    tracking_uri: str
    parent_run: str
    session: str
    parent: dict[str, str] | None
    max_trials: int = 100

    def config(self, overrides: Sequence[str]) -> Config:
        """The configuration of a trial.

        Raises:
            UserError: when the overrides give no valid configuration.
        """
        cfg = compose(merge_overrides(self.base, overrides))
        return cfg.model_copy(update={INITIAL_MODEL: self.initial})

    @property
    def searched(self) -> set[str]:
        """The keys that differ from trial to trial."""
        return {parameter.target for parameter in parse_space(self.sweep).searched}
