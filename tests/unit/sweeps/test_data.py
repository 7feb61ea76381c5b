import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config.composition import compose
from pipeline.config.paths import REPOSITORY
from pipeline.data.splits import data_digest, load_stats
from pipeline.sweeps.data import build_data, data_folder, find_data, prepare_data
from pipeline.sweeps.storage import Store
from pipeline.sweeps.task import Task
from pipeline.system.errors import UserError
from tests.helpers.tasks import task_of

SAMPLE = ["data=mnist_sample", "prepare.seed=3"]


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The repository in whose folder the data of sweeps are kept."""
    monkeypatch.delenv("DATA_MIRROR", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)  # for `dvc`
    return tmp_path


@pytest.fixture
def built() -> Path:
    """The sample, prepared apart from the workspace."""
    return build_data(compose(SAMPLE))


@pytest.fixture
def task(store: Store, built: Path) -> Task:
    return task_of(store, built, base=SAMPLE)


def test_data_are_built_once_for_each_configuration(root: Path, built: Path) -> None:
    assert load_stats(built)["images"]["test"] == 1000
    assert built.is_relative_to(root / ".sweeps")
    before = (built / "stats.json").stat().st_mtime_ns
    assert build_data(compose([*SAMPLE, "train.epochs=9"])) == built
    assert (built / "stats.json").stat().st_mtime_ns == before
    other = build_data(compose(["data=mnist_sample", "prepare.seed=4"]))
    assert data_digest(other) != data_digest(built)


def test_data_are_built_again_after_a_change_of_code_or_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = compose(SAMPLE)
    copy = tmp_path / "copy"
    shutil.copytree(REPOSITORY / "pipeline", copy / "pipeline")
    shutil.copy(REPOSITORY / "dvc.yaml", copy)
    monkeypatch.setattr("pipeline.config.stages.REPOSITORY", copy)
    before = data_folder(cfg)
    upgraded = cfg.versions.model_copy(update={"prepare": "numpy 99"})
    assert data_folder(cfg.model_copy(update={"versions": upgraded})) != before
    (copy / "pipeline/train.py").write_text("# not code of the stage")
    assert data_folder(cfg) == before
    (copy / "pipeline/prepare.py").write_text("# other code")
    assert data_folder(cfg) != before


def test_build_that_was_killed_is_done_again(built: Path) -> None:
    digest = data_digest(built)
    (built / "stats.json").unlink()  # the last file that is written
    (built / "train_images.npy").write_bytes(b"damaged")
    assert data_digest(build_data(compose(SAMPLE))) == digest


def test_data_that_are_prepared_on_the_machine_of_a_worker_are_used(
    task: Task, tmp_path: Path
) -> None:
    elsewhere = task.prepared.rename(tmp_path / "elsewhere")
    assert find_data(replace(task, prepared=elsewhere)) == elsewhere
    assert not task.prepared.exists()


@pytest.mark.parametrize("state", ["missing", "different"])
def test_data_that_are_missing_on_the_machine_of_a_worker_are_built(
    task: Task, tmp_path: Path, state: str
) -> None:
    there = tmp_path / "there"
    if state == "different":
        build_data(compose(["data=mnist_sample", "prepare.seed=4"])).rename(there)
    assert find_data(replace(task, prepared=there)) == task.prepared
    assert data_digest(task.prepared) == task.digest


def test_data_that_cannot_be_reproduced_are_refused(task: Task, tmp_path: Path) -> None:
    wrong = replace(task, prepared=tmp_path / "missing", digest="0" * 64)
    with pytest.raises(UserError, match=rf"digest.* {task.digest}.* {'0' * 64}"):
        find_data(wrong)


def test_data_that_differ_from_the_workspace_are_built_apart(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "params.yaml").write_text("data: mnist_sample\n")
    monkeypatch.chdir(root)
    prepared = prepare_data(compose(SAMPLE))
    assert prepared.is_relative_to(root / ".sweeps")
    assert not (root / "data").exists()


@pytest.mark.slow
def test_workspace_that_cannot_be_prepared_is_an_error(
    root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (root / "params.yaml").write_text("data: mnist_sample\nset: {prepare.seed: 3}\n")
    (root / ".sweeps").mkdir()
    monkeypatch.chdir(root)
    with pytest.raises(UserError, match="`dvc repro prepare` failed"):
        prepare_data(compose(SAMPLE))
    assert "not inside of a DVC repository" in capfd.readouterr().err
