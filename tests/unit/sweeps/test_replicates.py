"""The best trials of a study again with other seeds: which they are, their means, the preset."""

from pathlib import Path
from typing import Any, Literal

import pytest

from pipeline.config.composition import compose
from pipeline.config.overrides import merge_overrides
from pipeline.config.schema import Sweep
from pipeline.sweeps.parsing import parse_space
from pipeline.sweeps.preflight import check_same_study
from pipeline.sweeps.presets import write_preset
from pipeline.sweeps.replicates import best_trials, plan_replicates
from pipeline.sweeps.results import print_summary, write_results
from pipeline.sweeps.space import values_of
from pipeline.sweeps.storage import Store, Study
from pipeline.sweeps.study import ask_trial
from pipeline.sweeps.trials import HISTORY, OVERRIDES, THREADS, replicates_by_mean
from pipeline.system.errors import UserError
from tests.helpers.configs import changed
from tests.helpers.studies import random_sweep, study_of

Direction = Literal["minimize", "maximize"]
BASE = ["data=mnist_sample", "model=mlp", "train.epochs=3", "train.threads=2"]
ROW = {"epoch": 2, "val_accuracy": 0.75, "val_loss": 0.5}
VALUES = {4: 0.5, 5: 0.9, 6: 0.7, 7: 0.9, 8: 0.8}  # by width


def end(study: Study, trial: Any, value: float) -> None:
    trial.set_user_attr(THREADS, 2)
    trial.set_user_attr(HISTORY, [ROW])
    study.tell(trial, value)


def new_study(folder: Path, sweep: Sweep, direction: Direction, base: list[str]) -> Study:
    study = Store(folder / "study", sweep.name).create(direction)
    check_same_study(study, sweep, parse_space(sweep), compose(base), "data", base)
    return study


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_best_trials_come_first_and_of_equal_ones_the_earlier(
    tmp_path: Path, direction: Direction
) -> None:
    sweep = random_sweep(5, **{"model.width": "range(4, 9)"})
    study = new_study(tmp_path, sweep, direction, BASE)
    sign = 1 if direction == "maximize" else -1
    while trial := ask_trial(study, parse_space(sweep), sweep):
        end(study, trial, sign * VALUES[trial.params["model.width"]])
    found = [trial.params["model.width"] for trial in best_trials(study, 3)]
    assert found[2] == 8
    assert set(found[:2]) == {5, 7}
    numbers = [trial.number for trial in best_trials(study, 2)]
    assert numbers == sorted(numbers)
    assert len(best_trials(study, 99)) == 5


def test_best_of_two_objectives_are_of_the_front(tmp_path: Path) -> None:
    """The first trial is as good as the second, and larger."""
    trials = [(30, 0.95), (10, 0.95), (5, 0.90), (40, 0.94)]
    study = study_of(Store(tmp_path / "two", "two"), ["maximize", "minimize"], *trials)
    assert [trial.number for trial in best_trials(study, 1)] == [1]
    assert [trial.number for trial in best_trials(study, 9)] == [1, 2]


@pytest.mark.slow
def test_preset_with_the_best_mean_is_promoted_without_a_seed(
    tmp_path: Path, conf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The single trial with the best value is of the other preset."""
    params = {"experiment": "choice(tiny, fast)", "train.seed": "range(1, 3)"}
    settings = {"metric": "val_loss", "direction": "minimize", "replicates": True, "name": "again"}
    sweep = changed(random_sweep(4, **params), **settings)
    space, base = parse_space(sweep), ["train.threads=2"]
    study = new_study(tmp_path, sweep, "minimize", base)
    values = {"tiny": [0.05, 0.45], "fast": [0.2, 0.1]}
    while trial := ask_trial(study, space, sweep):
        end(study, trial, values[trial.params["experiment"]].pop())
    path = write_preset(study)
    assert path.name == "best_again.yaml"
    head = path.read_text()
    assert "# The best mean of 2 presets in the sweep again.\n" in head
    assert "# It is fast: val_loss mean 0.1500, standard deviation 0.0707, " in head
    chosen = compose(["experiment=best_again"], conf=conf).settings()
    assert chosen == compose([*base, "experiment=fast"]).settings()
    # The seed of a single trial is kept.
    number = next(t.number for t in study.trials if t.params["train.seed"] == 2)
    single = write_preset(study, number).stem
    assert compose([f"experiment={single}"], conf=conf).train.seed == 2
    write_results(tmp_path / "results", study, sweep, space)
    lines = (tmp_path / "results/spread.txt").read_text().splitlines()
    assert [line.partition(":")[0] for line in lines] == ["fast", "tiny"]
    print_summary(study, sweep, tmp_path / "results")
    assert capsys.readouterr().out.endswith(": make promote STUDY=again\n")


@pytest.mark.slow
def test_replicates_train_what_the_trials_did_but_for_the_seed(tmp_path: Path, conf: Path) -> None:
    """The base has a key that the trials replaced, a new key, and a seed that they replaced."""
    base = [*BASE, "optimizer.learning_rate=0.01", "+optimizer.clipnorm=1.0"]
    params = {"optimizer.learning_rate": "choice(0.02, 0.03, 0.04)", "train.seed": 7}
    sweep = changed(random_sweep(3, **params), name="again")
    study = new_study(tmp_path, sweep, "maximize", base)
    while trial := ask_trial(study, parse_space(sweep), sweep):
        end(study, trial, trial.params["optimizer.learning_rate"])
    plan = plan_replicates(study, 2, 3, conf=conf)
    assert plan.threads == 2
    rates = []
    for values in plan.space.combinations or []:
        overrides = plan.space.overrides(values_of(values))
        cfg = compose(merge_overrides(plan.base, overrides), conf=conf)
        rates.append((cfg.optimizer["learning_rate"], cfg.train.seed))
        assert (cfg.data.name, cfg.train.threads) == ("mnist_sample", 2)
        assert cfg.optimizer["clipnorm"] == 1.0
    assert sorted(rates) == [(rate, seed) for rate in (0.03, 0.04) for seed in (8, 9, 10)]


@pytest.mark.slow
def test_no_preset_is_written_if_one_cannot_be(tmp_path: Path, conf: Path) -> None:
    """A preset cannot remove a key."""
    sweep = changed(random_sweep(2, **{"model.width": "range(4, 6)"}), name="again")
    study = new_study(tmp_path, sweep, "maximize", BASE)
    for value, overrides in (
        (0.9, ["model.width=4"]),
        (0.8, ["model.width=5", "~augment.max_shift"]),
    ):
        trial = ask_trial(study, parse_space(sweep), sweep)
        assert trial is not None
        trial.set_user_attr(OVERRIDES, overrides)
        end(study, trial, value)
    before = set((conf / "experiment").iterdir())
    with pytest.raises(UserError):
        plan_replicates(study, 2, 3, conf=conf)
    assert set((conf / "experiment").iterdir()) == before


@pytest.mark.slow
def test_seeds_can_be_added_and_trials_cannot(tmp_path: Path, conf: Path) -> None:
    sweep = changed(random_sweep(3, **{"model.width": "range(4, 7)"}), name="again")
    study = new_study(tmp_path, sweep, "maximize", BASE)
    while trial := ask_trial(study, parse_space(sweep), sweep):
        end(study, trial, trial.params["model.width"])
    store = Store(tmp_path / "replicates", "again_replicates")
    replicates = store.create("maximize")
    numbers = []
    for seeds in (2, 4, 3):
        plan = plan_replicates(study, 2, seeds, conf=conf)
        check_same_study(replicates, plan.sweep, plan.space, plan.cfg, "data", plan.base)
        while trial := ask_trial(replicates, plan.space, plan.sweep):
            end(replicates, trial, 0.5)
        numbers.append([len(trials) for trials in replicates_by_mean(replicates)])
    assert numbers == [[2, 2], [4, 4], [4, 4]]
    plan = plan_replicates(study, 3, 4, conf=conf)
    with pytest.raises(UserError, match="was started with a different") as error:
        check_same_study(replicates, plan.sweep, plan.space, plan.cfg, "data", plan.base)
    assert str(error.value).endswith(": remove .sweeps/again_replicates to start again")


def test_replicates_have_no_replicates(tmp_path: Path) -> None:
    sweep = changed(random_sweep(5, **{"train.seed": "range(4, 9)"}), replicates=True, name="seeds")
    study = new_study(tmp_path, sweep, "maximize", BASE)
    with pytest.raises(UserError, match=r"^seeds: its trials are replicates already$"):
        plan_replicates(study, 3, 5)


def test_study_without_a_complete_trial_has_none(tmp_path: Path) -> None:
    sweep = changed(random_sweep(5, **{"model.width": "range(4, 9)"}), name="empty")
    study = new_study(tmp_path, sweep, "maximize", BASE)
    with pytest.raises(UserError, match=r"^empty: no trial is complete$"):
        plan_replicates(study, 3, 5)
