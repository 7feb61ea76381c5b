"""The best trials of a study again with other seeds: which they are, their means, the preset."""

from pathlib import Path
from typing import Any, Literal

import pytest

from pipeline.config.composition import compose
from pipeline.config.schema import Sweep
from pipeline.sweeps.parsing import parse_space
from pipeline.sweeps.preflight import check_same_study
from pipeline.sweeps.presets import write_preset
from pipeline.sweeps.replicates import best_trials, plan_replicates
from pipeline.sweeps.results import print_summary, write_results
from pipeline.sweeps.storage import Store, Study
from pipeline.sweeps.study import ask_trial
from pipeline.sweeps.trials import HISTORY, THREADS
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
