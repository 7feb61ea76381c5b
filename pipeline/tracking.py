"""The history: every training is one MLflow run, which `evaluate` completes.

The store is `sqlite:///mlflow.db` at the repository's root, where a bare `mlflow ui` finds it, or
what MLFLOW_TRACKING_URI names.
"""

import logging
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from filelock import FileLock

from pipeline import address, command, data, process
from pipeline.checkpoint import Checkpoints
from pipeline.command import UserError
from pipeline.config import Config, root
from pipeline.files import sha256
from pipeline.train import Seeds, read_history

if TYPE_CHECKING:
    from mlflow.data.numpy_dataset import NumpyDataset
    from mlflow.entities import Run
    from mlflow.models import ModelSignature

MODEL_DIGEST = "model.sha256"  # the tag by which `evaluate` finds the run that made a model
MODEL_ID = "model.id"  # MLflow's name for it
DATA_DIGEST = "data.sha256"
INIT_DIGEST = "init.model.sha256"  # of the model that a training goes on from
TRAINING = "training.fingerprint"  # the tag by which a training that was stopped finds its run
CHAMPION = "champion"
CATCH_UP = "When the store is back, `make track` completes the run."

_PACKAGES = ("keras", "numpy", "mlflow", "dvc", "hydra-core")


class UnreachableError(UserError):
    """The store does not answer now; what it should hold can be logged later."""


class TrainingRun:
    """The MLflow run of one training.

    A store that fails loses no training: from then on nothing is logged, and `complete` catches up.
    """

    def __init__(self, cfg: Config, prepared: Path) -> None:
        """Prepare for a run that `training_run` opens."""
        self.cfg = cfg
        self.prepared = prepared
        self.run_id = ""
        self.behind: UserError | None = None  # why the store has not got everything
        self._logged: set[int] = set()  # epochs: a step that is logged twice shows twice

    def log_epoch(self, epoch: int, row: dict[str, float]) -> None:
        """Log what an epoch measured, at the step of its number, from 1, if it is not there yet."""
        if epoch not in self._logged:
            self._attempt(lambda: self._log_epoch(epoch, row))

    def log_model(self, models: Path, metrics: dict[str, float]) -> None:
        """Log the saved model, byte for byte, and what it measured on validation data."""
        self._attempt(lambda: self._log_model(models, metrics))

    def _attempt(self, action: Callable[[], None], survives: type[UserError] = UserError) -> None:
        if self.behind:
            return
        try:
            with explained():
                action()
        except survives as error:
            self.behind = error
            print(f"warning: tracking is behind: {error}\n{CATCH_UP}", file=sys.stderr)

    def _log_epoch(self, epoch: int, row: dict[str, float]) -> None:
        import mlflow

        values = {key: value for key, value in row.items() if key != "epoch"}
        mlflow.log_metrics(values, step=epoch, run_id=self.run_id)
        self._logged.add(epoch)

    def _log_model(self, models: Path, metrics: dict[str, float]) -> None:
        import mlflow
        from mlflow.models import Model

        client = mlflow.MlflowClient()
        path = models / "model.keras"
        run = client.get_run(self.run_id)
        if run.data.tags.get(MODEL_DIGEST) == sha256(path):
            return  # stopped after this the last time
        for begun in run.outputs.model_outputs if run.outputs else []:
            client.delete_logged_model(begun.model_id)  # stopped while this was written
        validation = data.load_split(self.prepared, "validation")
        info = Model.log(
            artifact_path=None,
            flavor=_KerasFlavor,
            name="model",
            run_id=self.run_id,
            model=_SavedModel(path),
            signature=_signature(self.prepared),
            input_example=np.array(validation.images[:2]),
            # Given, since to find them out MLflow would load the model in another process.
            pip_requirements=[f"keras=={version('keras')}", _tensorflow()],
            validate_serving_input=False,  # it costs seconds; a test serves a model for real
        )
        mlflow.log_metrics(
            {key: value for key, value in metrics.items() if key.startswith("validation_")},
            dataset=dataset(self.cfg, self.prepared, "validation"),
            model_id=info.model_id,
            run_id=self.run_id,
        )
        client.log_artifact(self.run_id, str(models / "history.csv"))
        # The last thing: a run that has these has everything.
        set_tags(self.run_id, {MODEL_DIGEST: sha256(path), MODEL_ID: info.model_id})

    def _open(self, checkpoints: Checkpoints, init: Path | None) -> None:
        """Find or make the run, and log what is known before the training starts."""
        import mlflow
        from mlflow.entities import Param, RunTag
        from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

        connect(self.cfg.tracking.experiment)
        close_dead_runs()
        run = _open_run(self.cfg, checkpoints)
        self.run_id = run.info.run_id
        client = mlflow.MlflowClient()
        if "failure" in run.data.tags:
            client.delete_tag(self.run_id, "failure")
        seeds = {f"seed.{k}": v for k, v in vars(Seeds.derive(self.cfg.train.seed)).items()}
        params = {**flatten(_composed()), **seeds}
        tags = {**process.identity(), DATA_DIGEST: data.digest(self.prepared), **environment()}
        if init:
            tags[INIT_DIGEST] = sha256(init)
            parent = _find(self.cfg.tracking.experiment, sha256(init))
            if parent:
                tags[MLFLOW_PARENT_RUN_ID] = parent.info.run_id
        client.log_batch(
            self.run_id,
            # A parameter cannot change. One that differs in a run that goes on shapes no result.
            params=[Param(k, str(v)) for k, v in params.items() if k not in run.data.params],
            tags=[RunTag(k, v) for k, v in tags.items()],
        )
        client.log_artifact(self.run_id, "composed.yaml")
        for split, context in (("train", "training"), ("validation", "validation")):
            log_input(self.run_id, dataset(self.cfg, self.prepared, split), context)
        history = client.get_metric_history(self.run_id, "val_loss")
        self._logged = {metric.step for metric in history}

    def _close(self, status: str, failure: str = "") -> None:
        import mlflow

        if not self.run_id:
            return  # stopped before there was a run
        if failure:
            set_tags(self.run_id, {"failure": failure[:5000]})
        mlflow.MlflowClient().set_terminated(self.run_id, status)


@contextmanager
def training_run(
    cfg: Config, prepared: Path, checkpoints: Checkpoints, init: Path | None = None
) -> Iterator[TrainingRun]:
    """Open the run of one training, the one of its checkpoints where there is one.

    A training that goes on from a model is linked to the run that made it, its parent. What is
    known before it starts is logged at once. It ends FINISHED with the block, KILLED where that is
    interrupted, FAILED where it raises, with the reason as a tag. Signals are held back meanwhile:
    the block is to look for them with `command.check_signals`.
    """
    run = TrainingRun(cfg, prepared)
    with command.signals_held():
        try:
            run._attempt(lambda: run._open(checkpoints, init), survives=UnreachableError)
            command.check_signals()
            yield run
        except (KeyboardInterrupt, SystemExit):
            run._attempt(lambda: run._close("KILLED"))
            raise
        except BaseException as error:
            failure = f"{type(error).__name__}: {error}"
            run._attempt(lambda: run._close("FAILED", failure))
            raise
        run._attempt(lambda: run._close("FINISHED"))


def _open_run(cfg: Config, checkpoints: Checkpoints) -> "Run":
    """Open the run that the same training began and did not end, or a new one.

    A run that ended is continued too as long as its checkpoints are there: DVC has not recorded
    what it wrote. One that still runs belongs to a living process.
    """
    import mlflow
    from mlflow.tracking.context.registry import resolve_tags

    client = mlflow.MlflowClient()
    name = checkpoints.folder.name
    begun = mlflow.search_runs(
        filter_string=f"tags.`{TRAINING}` = '{name}' and attributes.status != 'RUNNING'",
        order_by=["attributes.start_time DESC"],
        output_format="list",
    )
    # Sorting is stable. The clock may have jumped: that a run is not finished counts for more.
    begun.sort(key=lambda run: run.info.status == "FINISHED")
    if begun and (begun[0].info.status != "FINISHED" or checkpoints.folder.is_dir()):
        client.update_run(begun[0].info.run_id, "RUNNING")
        return client.get_run(begun[0].info.run_id)
    experiment = mlflow.get_experiment_by_name(cfg.tracking.experiment)
    assert experiment is not None
    return client.create_run(
        experiment.experiment_id,
        run_name=cfg.tracking.run_name,
        tags=resolve_tags({TRAINING: name, **process.identity()}),
    )


def close_dead_runs() -> None:
    """Mark runs as killed that say RUNNING, and whose process on this machine is dead."""
    import mlflow

    client = mlflow.MlflowClient()
    running = mlflow.search_runs(
        filter_string=f"attributes.status = 'RUNNING' and tags.`process.host` = '{process.HOST}'",
        output_format="list",
    )
    for run in running:
        if not process.is_alive(run.data.tags):
            client.set_terminated(run.info.run_id, "KILLED")


def complete(
    cfg: Config, prepared: Path, models: Path, reports: Path, metrics: dict[str, float]
) -> str:
    """Add the test results to the run that made a model; crown the model if it is the best.

    Where the store knows no run that made it, or not all of it, the run is written from the model's
    files: DVC may have restored them from its cache, or the store did not answer during training.

    Args:
        metrics: what was measured on the test images, by the names to log.

    Returns:
        A line or two that say which run it is, and whether the model is the champion.

    Raises:
        UnreachableError: when the store does not answer.
    """
    import mlflow

    connect(cfg.tracking.experiment)
    # One at a time: two evaluations that end together would both beat the champion.
    with explained(), _lock():
        run = _find(cfg.tracking.experiment, sha256(models / "model.keras"))
        if run is None:
            run = _restore(cfg, prepared, models)
        run_id, model_id = run.info.run_id, run.data.tags[MODEL_ID]
        fresh = {k: v for k, v in metrics.items() if run.data.metrics.get(k) != v}
        if fresh:
            test = dataset(cfg, prepared, "test")
            log_input(run_id, test, "testing")
            mlflow.log_metrics(fresh, dataset=test, model_id=model_id, run_id=run_id)
        mlflow.MlflowClient().log_artifacts(run_id, str(reports), "reports")
        return f"run {run.info.run_name} ({run_id})\n" + _crown(cfg, run, model_id)


def use_store() -> None:
    """Point MLflow at the store."""
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    # It prints the traceback of what it raises.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)

    if "MLFLOW_TRACKING_URI" not in os.environ:
        mlflow.set_tracking_uri(_local_store())


def _local_store() -> str:
    return f"sqlite:///{root() / 'mlflow.db'}"


def _create_local_store(experiment: str) -> None:
    """Make mlflow.db, whole or not at all, and the experiment, where they are not there.

    Stopped in the middle of its first migrations, MLflow leaves a database that it cannot open.
    """
    import mlflow

    store = root() / "mlflow.db"
    if not store.exists():
        part = store.with_name(f".{store.name}.part")
        part.unlink(missing_ok=True)
        mlflow.MlflowClient(f"sqlite:///{part}").search_experiments(max_results=1)
        part.replace(store)
    if mlflow.get_experiment_by_name(experiment) is None:
        # Absolute: an experiment that DVC runs in a temporary clone may be the first.
        mlflow.create_experiment(experiment, (root() / "mlruns").as_uri())


def connect(experiment: str) -> None:
    """Point MLflow at the store and the experiment; create them, once, if they are not there.

    The first use of a fresh database by several processes at once would crash in its migrations.

    Raises:
        UnreachableError: when the store does not answer.
        UserError: when the store cannot be read, or the experiment is deleted.
    """
    import mlflow

    use_store()
    with explained(), _lock():
        if mlflow.get_tracking_uri() == _local_store():
            _create_local_store(experiment)
        # It makes one that is not there, whoever else does so, on other machines too.
        mlflow.set_experiment(experiment)


@contextmanager
def explained() -> Iterator[None]:
    """Turn what MLflow raises into one line."""
    import mlflow
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import OperationalError, SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = " ".join(str(error).split())[:600]
        temporary = (
            error.error_code in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE")
            if isinstance(error, MlflowException)
            else isinstance(error, OperationalError | OSError)
        )
        kind = UnreachableError if temporary else UserError
        raise kind(f"MLflow store {mlflow.get_tracking_uri()}: {reason}") from error


def _lock() -> FileLock:
    folder = root() / ".dvc" / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / "mlflow.lock", is_singleton=True)


def _find(experiment: str, digest: str) -> "Run | None":
    import mlflow

    runs = mlflow.search_runs(
        experiment_names=[experiment],
        filter_string=f"tags.`{MODEL_DIGEST}` = '{digest}'",
        order_by=["start_time DESC"],
        max_results=1,
        output_format="list",
    )
    return runs[0] if runs else None


def _restore(cfg: Config, prepared: Path, models: Path) -> "Run":
    """Write the run of a model that was trained out of this store's sight."""
    import json

    import mlflow

    with (
        address.initial(cfg.train.init_from) as init,
        training_run(cfg, prepared, Checkpoints.of(cfg, prepared, init), init) as training,
    ):
        for row in read_history(models / "history.csv"):
            training.log_epoch(int(row["epoch"]), row)
        training.log_model(models, json.loads((models / "metrics.json").read_text()))
    if training.behind:
        raise training.behind
    set_tags(training.run_id, {"restored": "written after the training, from its files"})
    return mlflow.MlflowClient().get_run(training.run_id)


def _crown(cfg: Config, run: "Run", model_id: str) -> str:
    """Register a model as champion if it beats the champion on the same validation data."""
    import mlflow
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    name = f"{cfg.data.name.replace('_', '-')}-classifier"
    client = MlflowClient()
    score = run.data.metrics["validation_accuracy"]
    try:
        champion = client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException:
        champion = None
    if champion is not None:
        best = float(champion.tags["validation_accuracy"])
        held = f"champion stays {name} version {champion.version}, validation accuracy {best:.4f}"
        if champion.tags[DATA_DIGEST] != run.data.tags[DATA_DIGEST]:
            return f"{held}: its data are other, so the two cannot be compared"
        if score <= best:
            return held
    tags = {"validation_accuracy": repr(score), DATA_DIGEST: run.data.tags[DATA_DIGEST]}
    # Stopped between the two the last time, it is registered already.
    known = client.search_model_versions(f"name = '{name}'")
    version = next((v for v in known if v.model_id == model_id), None)
    version = version or mlflow.register_model(f"models:/{model_id}", name, tags=tags)
    client.set_registered_model_alias(name, CHAMPION, version.version)
    return f"new champion: {name} version {version.version}, validation accuracy {score:.4f}"


class _KerasFlavor:
    """MLflow's Keras flavor, which forgets to make the folder that its input example goes into."""

    __name__ = "mlflow.keras"

    @staticmethod
    def save_model(path: str, validate_serving_input: bool, **arguments: Any) -> None:
        import mlflow.keras

        Path(path).mkdir()
        mlflow.keras.save_model(path=path, **arguments)


class _SavedModel:
    """A model file in a model's place: MLflow asks for `save` alone, and gets the same bytes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def save(self, path: str) -> None:
        shutil.copyfile(self._path, path)


def set_tags(run_id: str, tags: dict[str, str]) -> None:
    """Set tags of a run, which other processes may set too: of `set_tag` one would fail."""
    import mlflow
    from mlflow.entities import RunTag

    batch = [RunTag(key, value) for key, value in tags.items()]
    mlflow.MlflowClient().log_batch(run_id, tags=batch)


def log_input(run_id: str, dataset: "NumpyDataset", context: str) -> None:
    """Log what a run reads; other processes may log the same data set for the first time, too."""
    import mlflow
    from mlflow.entities import DatasetInput, InputTag
    from mlflow.exceptions import MlflowException
    from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

    entry = DatasetInput(dataset._to_mlflow_entity(), [InputTag(MLFLOW_DATASET_CONTEXT, context)])
    client = mlflow.MlflowClient()
    try:
        client.log_inputs(run_id, [entry])
    except MlflowException as error:
        if error.error_code != "BAD_REQUEST":  # what a database's conflict becomes
            raise
        client.log_inputs(run_id, [entry])  # by now it is there


def _signature(prepared: Path) -> "ModelSignature":
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    stats = data.load_stats(prepared)
    pixels = TensorSpec(np.dtype(np.uint8), (-1, stats["height"], stats["width"]), "pixels")
    chances = TensorSpec(np.dtype(np.float32), (-1, stats["num_classes"]))
    return ModelSignature(Schema([pixels]), Schema([chances]))


def dataset(cfg: Config, prepared: Path, split: str) -> "NumpyDataset":
    from mlflow.data import from_numpy  # type: ignore[attr-defined]
    from mlflow.data.code_dataset_source import CodeDatasetSource

    arrays = data.load_split(prepared, split)
    return from_numpy(
        arrays.images,
        source=CodeDatasetSource({"mlflow.source.name": "pipeline/prepare.py"}),
        targets=arrays.labels,
        name=f"{cfg.data.name}-{split}",
        digest=data.digest(prepared, (split,))[:32],  # MLflow takes 36 characters at most
    )


def _composed() -> dict[str, Any]:
    return yaml.safe_load(Path("composed.yaml").read_text())


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A configuration's values by their dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


@cache
def environment() -> dict[str, str]:
    """What a run's numbers depend on besides its configuration and data."""
    import tensorflow as tf
    from tensorflow.python.framework.config import is_op_determinism_enabled

    return {
        "mlflow.source.git.commit": _git("rev-parse", "--verify", "--quiet", "HEAD"),
        "git.dirty": str(bool(_git("status", "--porcelain"))).lower(),
        "cpu": cpu(),
        "cpu.cores": str(os.cpu_count()),
        "threads": str(tf.config.threading.get_intra_op_parallelism_threads()),
        "deterministic": str(is_op_determinism_enabled()).lower(),
        "version.python": platform.python_version(),
        "version.tensorflow": _tensorflow().partition("==")[2],
        **{f"version.{name}": version(name) for name in _PACKAGES},
    }


def _tensorflow() -> str:
    """The requirement of the TensorFlow that is installed, by whichever name it is."""
    for name in ("tensorflow-cpu", "tensorflow"):
        try:
            return f"{name}=={version(name)}"
        except PackageNotFoundError:
            continue
    raise PackageNotFoundError("tensorflow")


def _git(*arguments: str) -> str:
    result = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return result.stdout.strip()


def cpu() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
