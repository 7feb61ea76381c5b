from pathlib import Path

import pytest

from pipeline.sweeps.plan import make_plan
from pipeline.system.errors import UserError
from pipeline.system.processor import usable_cores
from tests.helpers.configs import assert_one_line, write_params


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A params.yaml, in a repository without sweeps."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return write_params(tmp_path, "data: mnist_sample\nmodel: cnn\nset: {train: {epochs: 7}}\n")


def test_plan_holds_the_sweep_and_what_all_trials_share(params: Path, tmp_path: Path) -> None:
    plan = make_plan(["sweep=depth", "sweep.trials=5", "train.epochs=3"], params)
    assert (plan.sweep.name, plan.sweep.trials) == ("depth", 5)
    assert plan.base[:2] == ["data=mnist_sample", "model=cnn"]
    assert "train.epochs=3" in plan.base
    assert "train.epochs=7" not in plan.base
    assert (plan.cfg.train.epochs, plan.cfg.data.name) == (3, "mnist_sample")
    assert plan.store.folder == tmp_path / ".sweeps/depth"
    assert plan.results == tmp_path / ".sweeps/depth/results"
    assert list(tmp_path.iterdir()) == [params], "nothing is written before the sweep starts"


@pytest.mark.parametrize(
    ("arguments", "threads"),
    [
        (["sweep.workers=1"], usable_cores()),
        (["sweep.workers=1000"], 1),
        (["sweep.workers=1", "train.threads=3"], 3),
    ],
)
def test_worker_has_its_share_of_the_cores(
    params: Path, arguments: list[str], threads: int
) -> None:
    plan = make_plan(["sweep=depth", *arguments], params)
    assert plan.threads == plan.cfg.train.threads == threads
    assert f"train.threads={threads}" in plan.base


def test_worker_of_a_cluster_has_one_thread(params: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    cluster = ["launcher=ray", "launcher.address=head:6379", "launcher.storage=postgresql://db/o"]
    plan = make_plan(["sweep=depth", *cluster], params)
    assert plan.threads == 1
    assert plan.store.database == "postgresql://db/o"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["sweep=dept"], ["sweep=dept", "depth"]),
        (["train.epohcs=3"], ["train.epohcs", "the command line", "epochs"]),
        (["sweep=depth", "optimizer.learning_rate=0.1"], ["learning_rate", "the sweep sets"]),
        (["sweep=depth", "sweep.sampler._target_=optuna.pruners.NopPruner"], ["sweep.sampler"]),
        (["sweep=seeds", "sweep.replicates=false"], ["train.seed", "replicates"]),
        (["sweep=depth", "launcher.storage=postgresql://db/o"], ["MLFLOW_TRACKING_URI"]),
    ],
)
def test_mistake_is_one_line(params: Path, arguments: list[str], parts: list[str]) -> None:
    with pytest.raises(UserError) as error:
        make_plan(arguments, params)
    assert_one_line(error.value, parts)


def test_mistake_in_params_names_that_file(params: Path) -> None:
    params.write_text("set: {train: {epohcs: 3}}\n")
    with pytest.raises(UserError) as error:
        make_plan(["sweep=depth"], params)
    assert_one_line(error.value, ["train.epohcs", "params.yaml", "epochs"])
