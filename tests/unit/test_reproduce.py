"""What the command does is tested in tests/system; here is what it refuses."""

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline.config.paths import COMPOSED
from pipeline.reproduction.clean_folder import tools_for, write_configuration
from pipeline.reproduction.differences import compare_files
from pipeline.reproduction.recorded import Recorded, find_recorded
from pipeline.system.errors import UserError
from pipeline.tracking.changes import LEFT_OUT
from pipeline.tracking.tags import INIT_DIGEST, MODEL_DIGEST, PARENT_RUN
from tests.helpers.commands import assert_help, assert_usage_error

COMMIT = {"mlflow.source.git.commit": "a" * 40}


def log_run(name: str, *artifacts: str, **tags: str) -> str:
    """A run with small artifacts; its configuration has one epoch and no number of threads."""
    client = MlflowClient()
    run_id = client.create_run("1", run_name=name, tags={**tags, "threads": "3"}).info.run_id
    client.log_metric(run_id, "val_loss", 0.5, step=1)
    for artifact in artifacts:
        client.log_text(run_id, "train: {epochs: 1, threads: null, init_from: null}", artifact)
    return str(run_id)


def test_help_says_what_is_taken_from_the_run(tmp_path: Path) -> None:
    assert_help("reproduce", tmp_path, "commit", "not committed", "versions", "RUN", "trust")


def test_missing_run_is_a_usage_error(tmp_path: Path) -> None:
    assert_usage_error("reproduce", tmp_path, message="RUN")


@pytest.mark.slow
@pytest.mark.usefixtures("tracked")
def test_run_that_cannot_be_reproduced_is_one_line(tmp_path: Path) -> None:
    for name in ("sweep", "no commit", "two", "two"):
        log_run(name, *([COMPOSED] if name != "sweep" else []))
    for number, (name, reason) in enumerate(
        {
            "sweep": "run sweep has no composed.yaml: only a training or a trial",
            "no commit": "run no commit has no commit",
            "two": "2 runs are named 'two'; give the id of one: ",
            "swep": "no MLflow run 'swep'; the nearest: sweep",
        }.items()
    ):
        (tmp_path / str(number)).mkdir()
        with pytest.raises(UserError, match=f"^{reason}"):
            find_recorded(name, tmp_path / str(number))


@pytest.mark.usefixtures("tracked")
def test_run_without_an_epoch_is_refused_before_it_trains(tmp_path: Path) -> None:
    client = MlflowClient()
    run_id = client.create_run("1", run_name="killed", tags=COMMIT).info.run_id
    client.log_text(run_id, "train: {epochs: 1}", COMPOSED)
    with pytest.raises(UserError, match="run killed ended before its first epoch"):
        find_recorded("killed", tmp_path)


@pytest.mark.usefixtures("tracked")
def test_every_file_of_a_run_is_compared(tmp_path: Path) -> None:
    names = ["reports/a.png", "exports/model.onnx", "exports/deep/same.bin"]
    run_id = log_run("a run", COMPOSED, *names, **COMMIT, **{MODEL_DIGEST: "d16e57"})
    (tmp_path / "files").mkdir()
    recorded = find_recorded(run_id, tmp_path / "files")
    clean = tmp_path / "clean"
    shutil.copytree(recorded.files, clean)
    (clean / "exports/model.onnx").write_text("other")
    assert compare_files(recorded, clean) == {
        "models/model.keras": False,
        "reports/a.png": True,
        "exports/model.onnx": False,
        "exports/deep/same.bin": True,
    }


@pytest.mark.usefixtures("tracked")
def test_trial_has_the_changes_of_its_sweep(tmp_path: Path) -> None:
    sweep = log_run("sweep", "uncommitted.patch", **{"git.dirty": "true"})
    tags = {**COMMIT, "git.dirty": "true", PARENT_RUN: sweep}
    found = find_recorded(log_run("trial", COMPOSED, **tags), tmp_path)
    assert found.patch
    assert found.patch.is_file()
    assert found.lost_changes == ""


@pytest.mark.usefixtures("tracked")
@pytest.mark.parametrize(
    ("tags", "lost"),
    [
        ({"git.dirty": "false"}, ""),
        ({"git.dirty": "true"}, "which ones is not known"),
        ({"git.dirty": "true", LEFT_OUT: ".env"}, ".env"),
    ],
)
def test_changes_that_were_not_kept_are_named(
    tmp_path: Path, tags: dict[str, str], lost: str
) -> None:
    found = find_recorded(log_run("a run", COMPOSED, **COMMIT, **tags), tmp_path)
    assert (found.patch, found.lost_changes) == (None, lost)


@pytest.fixture
def recorded(tracked: Path, tmp_path: Path) -> Recorded:
    (tmp_path / "files").mkdir()
    return find_recorded(log_run("a run", COMPOSED, **COMMIT), tmp_path / "files")


def test_configuration_has_the_threads_of_the_run(recorded: Recorded, tmp_path: Path) -> None:
    write_configuration(recorded, tmp_path)
    assert (tmp_path / COMPOSED).read_text() == (
        "train:\n  epochs: 1\n  init_from: null\n  threads: 3\n"
    )


def test_initial_model_that_is_gone_is_one_line(recorded: Recorded, tmp_path: Path) -> None:
    recorded.run.data.tags[INIT_DIGEST] = "0" * 64
    recorded.config["train"]["init_from"] = "models:/reader@champion"
    with pytest.raises(UserError, match=r"^train\.init_from: models:/reader@champion is not"):
        write_configuration(recorded, tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("tracked")
@pytest.mark.parametrize("recipe", ["mkdir -p .venv/bin", "false"])
def test_other_versions_are_installed_by_the_makefile_of_the_commit(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "files").mkdir()
    run_id = log_run("old", COMPOSED, **COMMIT, **{"version.keras": "2.0.0"})
    recorded = find_recorded(run_id, tmp_path / "files")
    (tmp_path / "Makefile").write_text(f"setup:\n\t{recipe}\n")
    if recipe == "false":
        with pytest.raises(UserError, match=r"`make setup` failed in the commit of the run"):
            tools_for(recorded, tmp_path)
    else:
        assert tools_for(recorded, tmp_path) == tmp_path / ".venv/bin"
        assert (tmp_path / ".venv/bin").is_dir()
    assert "The run had other versions: keras 2.0.0. Installing those" in capsys.readouterr().out
