import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.artifacts.keras_file import load_model, save_model
from pipeline.config.schema import Config
from pipeline.data.splits import data_digest
from pipeline.models import mlp
from pipeline.system.errors import UserError
from pipeline.tracking.liveness import HEARTBEAT, Heartbeat, close_dead_runs
from pipeline.tracking.store import set_tags
from pipeline.tracking.tags import DATA_DIGEST, INIT_DIGEST, MODEL_DIGEST, PARENT_RUN, TRAINING_ID
from pipeline.tracking.training_run import TrainingRun, training_run
from tests.helpers import tiny
from tests.helpers.configs import MakeConfig


@pytest.fixture
def digits(tracked: Path, cfg: MakeConfig) -> Config:
    """A configuration that logs to the store of the test."""
    return cfg("tracking.experiment=digits", "model=softmax")


def all_runs() -> list[Run]:
    return list(mlflow.search_runs(search_all_experiments=True, output_format="list"))


@pytest.mark.slow
def test_finished_run_has_what_is_known_before_the_training(digits: Config, prepared: Path) -> None:
    with training_run(digits, prepared, 3, "fingerprint") as training:
        training.log_epoch(1, {"epoch": 1, "val_loss": 0.5})
        assert all_runs()[0].info.status == "RUNNING"
    [run] = all_runs()
    assert run.info.run_id == training.run_id
    assert run.info.status == "SCHEDULED", "it is not evaluated"
    # A run of more than two seconds also has the use of the processors and the memory.
    learned = {key: v for key, v in run.data.metrics.items() if not key.startswith("system/")}
    assert learned == {"val_loss": 0.5}
    assert run.data.params["model"] == "softmax"
    assert run.info.run_name == "softmax"
    assert "\n- Data: mnist, " in run.data.tags["mlflow.note.content"]
    expected = {TRAINING_ID: "fingerprint", DATA_DIGEST: data_digest(prepared), "threads": "3"}
    assert expected.items() <= run.data.tags.items()
    assert "process.id" in run.data.tags
    assert run.inputs
    assert len(run.inputs.dataset_inputs) == 2
    artifacts = mlflow.MlflowClient().list_artifacts(run.info.run_id)
    # It also has a patch if there are changes that are not committed.
    assert "composed.yaml" in [artifact.path for artifact in artifacts]


def test_resumed_run_is_not_closed_by_others(
    digits: Config, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may look at the moment when its status changes."""
    with suppress(KeyboardInterrupt), training_run(digits, prepared, 3, "fingerprint"):
        set_tags(all_runs()[0].info.run_id, {"process.started": "0", HEARTBEAT: "0"})
        raise KeyboardInterrupt
    update = MlflowClient.update_run

    def update_and_look(*arguments: Any) -> None:
        update(*arguments)
        close_dead_runs()

    monkeypatch.setattr(MlflowClient, "update_run", update_and_look)
    with training_run(digits, prepared, 3, "fingerprint"):
        [run] = all_runs()
        assert run.info.status == "RUNNING"


def test_run_has_a_heartbeat_before_it_beats(
    digits: Config, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one, a run that a power cut has ended would be waited for without an end."""
    monkeypatch.setattr(Heartbeat, "_beat", lambda self: None)
    with training_run(digits, prepared, 3, "fingerprint"):
        assert HEARTBEAT in all_runs()[0].data.tags


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "status", "failure"),
    [
        (UserError("the loss is nan"), "FAILED", "the loss is nan"),
        (ZeroDivisionError("a bug"), "FAILED", "ZeroDivisionError: a bug"),
        (KeyboardInterrupt(), "KILLED", None),
        (SystemExit(143), "KILLED", None),
    ],
)
def test_run_says_how_the_training_ended(
    digits: Config, prepared: Path, error: BaseException, status: str, failure: str | None
) -> None:
    with pytest.raises(type(error)), training_run(digits, prepared, 1, "fingerprint"):
        raise error
    [run] = all_runs()
    assert run.info.status == status
    assert run.data.tags.get("failure") == failure


def test_signal_at_the_end_of_the_training_ends_the_run(digits: Config, prepared: Path) -> None:
    with pytest.raises(KeyboardInterrupt), training_run(digits, prepared, 1, "fingerprint"):
        signal.raise_signal(signal.SIGINT)
    assert [run.info.status for run in all_runs()] == ["SCHEDULED"], "its work is complete"


def open_and_fail(cfg: Config, prepared: Path, training_id: str) -> str:
    with (
        pytest.raises(ZeroDivisionError),
        training_run(cfg, prepared, 1, training_id) as training,
    ):
        raise ZeroDivisionError
    return training.run_id


@pytest.mark.slow
def test_interrupted_training_resumes_its_run(digits: Config, prepared: Path) -> None:
    first = open_and_fail(digits, prepared, "fingerprint")
    with training_run(digits, prepared, 1, "fingerprint") as training:
        assert training.run_id == first
    [run] = all_runs()
    assert run.info.status == "SCHEDULED", "it is not evaluated"
    assert "failure" not in run.data.tags


@pytest.mark.slow
def test_other_training_has_another_run(digits: Config, prepared: Path) -> None:
    first = open_and_fail(digits, prepared, "fingerprint")
    with training_run(digits, prepared, 1, "another") as training:
        assert training.run_id != first
    assert len(all_runs()) == 2


@pytest.mark.slow
@pytest.mark.parametrize("resumable", [False, True])
def test_finished_run_is_resumed_only_while_there_are_checkpoints(
    digits: Config, prepared: Path, resumable: bool
) -> None:
    with training_run(digits, prepared, 1, "fingerprint") as first:
        pass
    with training_run(digits, prepared, 1, "fingerprint", resumable) as second:
        assert (second.run_id == first.run_id) == resumable


@pytest.mark.slow
def test_run_of_a_living_process_is_left_alone(digits: Config, prepared: Path) -> None:
    with training_run(digits, prepared, 1, "fingerprint") as first:
        other = TrainingRun(digits, prepared, 1)
        other.open("fingerprint", resumable=True)
        assert other.run_id != first.run_id
        other.close("FINISHED")


@pytest.mark.slow
def test_initial_model_makes_its_run_the_parent(digits: Config, prepared: Path) -> None:
    with training_run(digits, prepared, 1, "first") as parent:
        set_tags(parent.run_id, {MODEL_DIGEST: "abc"})
    started = digits.model_copy(update={"initial_model": "abc"})
    with training_run(started, prepared, 1, "second") as child:
        pass
    tags = mlflow.MlflowClient().get_run(child.run_id).data.tags
    assert tags[PARENT_RUN] == parent.run_id
    assert tags[INIT_DIGEST] == "abc"


def test_training_runs_without_a_store_that_answers(
    digits: Config,
    prepared: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    with training_run(digits, prepared, 1, "fingerprint") as training:
        training.log_epoch(1, {"epoch": 1, "val_loss": 0.5})
    assert training.run_id == ""
    assert training.error is not None
    warning = capsys.readouterr().err
    assert warning.startswith("warning: tracking is incomplete: MLflow store http://127.0.0.1:9")
    assert warning.count("warning: ") == 1


def test_unreadable_store_stops_the_training(digits: Config, prepared: Path, tracked: Path) -> None:
    mlflow.set_experiment("digits")
    experiment = mlflow.get_experiment_by_name("digits")
    assert experiment is not None
    mlflow.delete_experiment(experiment.experiment_id)
    with (
        pytest.raises(UserError, match="deleted experiment 'digits'"),
        training_run(digits, prepared, 1, "fingerprint"),
    ):
        raise AssertionError("the training began")


@pytest.mark.slow
def test_seconds_of_fitting_are_those_of_all_epochs_or_none(
    digits: Config, prepared: Path, tmp_path: Path
) -> None:
    """Epochs that were logged after an outage of the store have no speed."""
    save_model(mlp(tiny.SHAPE, tiny.CLASSES, depth=0, width=0), tmp_path / "model.keras")
    (tmp_path / "history.csv").touch()
    metrics = {"val_loss": 0.5, "val_accuracy": 0.5, "best_epoch": 1}
    for known in (1, 2):
        with training_run(digits, prepared, 1, f"training {known}") as training:
            for epoch in (1, 2):
                speed = {"images_per_second": 100.0} if epoch <= known else {}
                training.log_epoch(epoch, {"epoch": epoch, "val_loss": 0.5, **speed})
            training.log_model(load_model(tmp_path / "model.keras"), tmp_path, metrics)
        run = mlflow.get_run(training.run_id)
        assert ("fit_seconds" in run.data.metrics) == (known == 2)
