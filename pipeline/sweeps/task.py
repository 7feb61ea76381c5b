"""What a worker of a sweep must know; it can be sent to another process or machine."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.config.schema import Sweep
from pipeline.sweeps.storage import Store

SWEEPS_FOLDER = ".sweeps"


@dataclass(frozen=True)
class Task:
    """What a worker must know.

    Attributes:
        store: where the study is.
        sweep: the settings of the sweep.
        base: the overrides that all trials share.
        prepared: folder of the prepared data on the machine that started the sweep.
        digest: of the prepared data.
        threads: of TensorFlow.
        tracking_uri: of the MLflow store.
        parent_run: the MLflow run of the sweep; "" when the store did not answer.
        session: identifies this start of the sweep among others that work on the same study.
        parent: the process that started the sweep, if its workers must end with it. The processes
            of a cluster do not: they do not belong to the sweep.
    """

    store: Store
    sweep: Sweep
    base: list[str]
    prepared: Path
    digest: str
    threads: int
    tracking_uri: str
    parent_run: str
    session: str
    parent: dict[str, str] | None
