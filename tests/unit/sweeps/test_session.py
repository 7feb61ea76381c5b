import os
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from filelock import FileLock
from optuna.trial import TrialState, create_trial

from pipeline.config.composition import compose_sweep
from pipeline.data.splits import data_digest
from pipeline.sweeps.data import build_data
from pipeline.sweeps.plan import Plan, make_plan, plan_sweep
from pipeline.sweeps.preflight import check_same_study
from pipeline.sweeps.session import run_sweep
from pipeline.sweeps.trials import complete_trials
from pipeline.system.errors import UserError
from tests.helpers.configs import changed, write_params


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


@pytest.mark.slow
def test_sweep_without_data_ends_before_its_study_is_created(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plan = plan_of(root)
    with pytest.raises(UserError, match="`dvc repro prepare` failed"):
        run_sweep(plan)
    assert not (plan.store.folder / "journal").exists()
    with FileLock(plan.store.folder / "sweep.lock", timeout=0):
        pass  # the sweep has freed it


@pytest.mark.slow
@pytest.mark.usefixtures("tracked")
def test_pause_after_a_killed_session_is_no_time_of_its_trials(root: Path) -> None:
    """The kill left a trial in the state RUNNING, an hour ago."""
    base = ["data=mnist_sample", "prepare.seed=3", "model=softmax", "augment=none"]
    settings = compose_sweep(["sweep.trials=1", "sweep.workers=1", "sweep.timeout=30"])
    params = {"train.batch_size": "range(64, 128)", "train.epochs": 1}
    sweep = changed(settings.sweep, params=params, enqueue=[])
    plan = plan_sweep(settings.model_copy(update={"sweep": sweep}), base)
    study = plan.store.create("maximize")
    digest = data_digest(build_data(plan.cfg))
    check_same_study(study, plan.sweep, plan.space, plan.cfg, digest, plan.base)
    [searched] = plan.space.searched
    assert searched.distribution is not None
    lost = create_trial(
        state=TrialState.RUNNING,
        params={searched.name: 100},
        distributions={searched.name: searched.distribution},
    )
    lost.datetime_start = datetime.now() - timedelta(hours=1)
    study.add_trial(lost)
    run_sweep(plan)
    assert [trial.params[searched.name] for trial in complete_trials(study)] == [100]
