import os
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from pipeline.sweeps.plan import Plan, make_plan
from pipeline.sweeps.session import run_sweep
from pipeline.system.errors import UserError
from tests.helpers.configs import write_params


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository that has neither data nor sweeps, as the working directory."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)  # for `dvc`
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, "data: mnist_sample\n")
    return tmp_path


def plan_of(root: Path, *arguments: str) -> Plan:
    return make_plan(["sweep=depth", *arguments], root / "params.yaml")


def test_second_start_of_a_running_sweep_is_refused(root: Path) -> None:
    plan = plan_of(root)
    plan.store.folder.mkdir(parents=True)
    with (
        FileLock(plan.store.folder / "sweep.lock"),
        pytest.raises(UserError, match=r"^depth: this sweep is already running"),
    ):
        run_sweep(plan)
    assert not (plan.store.folder / "journal").exists()


def test_missing_initial_model_is_named_before_anything_is_written(root: Path) -> None:
    plan = plan_of(root, "train.init_from=no/model.keras")
    with pytest.raises(UserError, match=r"train\.init_from: .*no/model\.keras"):
        run_sweep(plan)
    assert not plan.store.folder.exists()


def test_sweep_without_data_ends_before_its_study_is_created(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plan = plan_of(root)
    with pytest.raises(UserError, match="`dvc repro prepare` failed"):
        run_sweep(plan)
    assert not (plan.store.folder / "journal").exists()
    with FileLock(plan.store.folder / "sweep.lock", timeout=0):
        pass  # the sweep has freed it
