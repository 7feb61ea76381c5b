import csv
import math
import re
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from scipy.stats import t

from pipeline.config.schema import Sweep
from pipeline.sweeps.parsing import parse_space
from pipeline.sweeps.results import (
    best_tags,
    describe_results,
    print_summary,
    promote_command,
    spread,
    write_results,
    write_table,
)
from pipeline.sweeps.storage import Store, Study
from pipeline.sweeps.study import ask_trial
from pipeline.sweeps.trials import FAILURE, RUN, WEIGHTS
from tests.helpers.configs import changed
from tests.helpers.studies import random_sweep, study_of

PARAMS = {
    "model": "choice(mlp, cnn)",
    "model.depth": {"when": "model=mlp", "space": "range(1, 9)"},
    "optimizer.learning_rate": "tag(log, interval(1e-4, 1e-1))",
    "train.epochs": 3,
}
LOSS = {"metric": "val_loss", "direction": "minimize"}


@pytest.fixture
def sweep() -> Sweep:
    return changed(random_sweep(9, **PARAMS), **LOSS)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """An empty study whose metric is minimized."""
    return Store(tmp_path / "study", "digits").create("minimize")


def end_trials(study: Study, sweep: Sweep, *values: float) -> None:
    """Run complete trials with these values."""
    for value in values:
        trial = ask_trial(study, parse_space(sweep), sweep)
        assert trial is not None
        trial.report(value + 1, 1)
        trial.report(value, 2)
        study.tell(trial, value)


def end_other_trials(study: Study, sweep: Sweep) -> None:
    """Run a trial that is pruned after its first epoch, and one that fails."""
    space = parse_space(sweep)
    pruned, failed = ask_trial(study, space, sweep), ask_trial(study, space, sweep)
    assert pruned is not None
    assert failed is not None
    pruned.report(0.9, 1)
    study.tell(pruned, state=TrialState.PRUNED)
    failed.set_user_attr(FAILURE, '"the loss", nan')
    study.tell(failed, state=TrialState.FAIL)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_table_has_a_row_for_each_ended_trial(study: Study, sweep: Sweep, tmp_path: Path) -> None:
    end_trials(study, sweep, 0.5, 0.25)
    end_other_trials(study, sweep)
    write_results(tmp_path / "results", study, sweep, parse_space(sweep))
    rows = rows_of(tmp_path / "results")
    assert [row["trial"] for row in rows] == ["0", "1", "2", "3"]
    assert [row["state"] for row in rows] == ["COMPLETE", "COMPLETE", "PRUNED", "FAIL"]
    assert [row["val_loss"] for row in rows][:2] == ["0.5", "0.25"]
    assert [row["epochs"] for row in rows] == ["2", "2", "1", ""]
    assert [row["failure"] for row in rows] == ["", "", "", '"the loss", nan']
    assert all(float(row["seconds"]) >= 0 for row in rows)
    assert "train.epochs" not in rows[0], "it is constant"
    for row, trial in zip(rows, study.trials, strict=True):
        for name in ("model", "model.depth", "optimizer.learning_rate"):
            value = trial.params.get(name)
            assert row[name] == ("" if value is None else str(value))


@pytest.mark.slow
def test_plots_are_drawn_of_what_was_varied(study: Study, sweep: Sweep, tmp_path: Path) -> None:
    end_trials(study, sweep, *(1 / n for n in range(1, 10)))
    write_results(tmp_path / "results", study, sweep, parse_space(sweep))
    files = {path.name: path.read_bytes() for path in (tmp_path / "results").iterdir()}
    assert set(files) == {"trials.csv", "history.png", "slices.png", "curve_model.depth.png"}
    for name, content in files.items():
        assert name.endswith(".csv") or content.startswith(b"\x89PNG")


@pytest.mark.slow
def test_front_is_drawn_when_networks_differ_in_size(
    study: Study, sweep: Sweep, tmp_path: Path
) -> None:
    for sizes, drawn in (((9, 9), False), ((9, 9, 50), True)):
        while len(study.trials) < len(sizes):
            trial = ask_trial(study, parse_space(sweep), sweep)
            assert trial is not None
            trial.set_user_attr(WEIGHTS, sizes[trial.number])
            study.tell(trial, 1.0)
        write_results(tmp_path / "results", study, sweep, parse_space(sweep))
        assert (tmp_path / "results/pareto.png").exists() == drawn
        assert [row["weights"] for row in rows_of(tmp_path / "results")] == [*map(str, sizes)]


@pytest.mark.slow
def test_sweep_of_two_objectives_ends_with_its_front(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = changed(random_sweep(20, **PARAMS), also_minimize="weights")
    trials = [(1000 + number, 0.99 if number == 7 else 0.9) for number in range(20)]
    study = study_of(Store(tmp_path / "two", "two"), sweep.directions, *trials)
    folder = tmp_path / "results"
    write_results(folder, study, sweep, parse_space(sweep))
    assert [(row["val_accuracy"], row["weights"]) for row in rows_of(folder)][6:8] == [
        ("0.9", "1006"),
        ("0.99", "1007"),
    ]
    assert {path.name for path in folder.iterdir()} == {"trials.csv", "history.png", "pareto.png"}

    print_summary(study, sweep, folder)
    first, *front, last = capsys.readouterr().out.splitlines()
    assert first == "default: the networks that are better than every smaller one"
    assert [line.split(": ")[0] for line in front] == ["trial 0", "trial 7"]
    assert "val_accuracy 0.9900, 1,007 weights" in front[1]
    assert "make promote STUDY=default TRIAL=NUMBER" in last
    tags = best_tags(study, sweep)
    assert (tags["best.trial"], tags["front.trials"]) == ("7", "0, 7")
    note = describe_results(study, sweep)
    assert "better than every smaller one: trials 0, 7." in note
    assert "make promote STUDY=default TRIAL=NUMBER" in note


@pytest.mark.slow
@pytest.mark.parametrize(("count", "drawn"), [(19, False), (20, True)])
def test_importances_need_enough_trials(
    study: Study, sweep: Sweep, tmp_path: Path, count: int, drawn: bool
) -> None:
    many = changed(sweep, trials=count)
    end_trials(study, many, *(1 / n for n in range(1, count + 1)))
    write_results(tmp_path, study, many, parse_space(many))
    assert (tmp_path / "importances.png").exists() == drawn


@pytest.mark.slow
def test_conditional_parameters_are_not_compared_with_others(study: Study, tmp_path: Path) -> None:
    """A CNN has no depth. With the model alone, there is nothing to compare."""
    params = {key: PARAMS[key] for key in ("model", "model.depth")}
    sweep = changed(random_sweep(25, **params), **LOSS)
    for n in range(25):
        trial = ask_trial(study, parse_space(sweep), sweep)
        if trial is None:
            break
        study.tell(trial, 1 / (n + 1))
    write_results(tmp_path / "results", study, sweep, parse_space(sweep))
    names = {path.name for path in (tmp_path / "results").iterdir()}
    assert names == {"trials.csv", "history.png", "slices.png", "curve_model.depth.png"}


def test_run_of_a_trial_stands_in_the_table(study: Study, sweep: Sweep, tmp_path: Path) -> None:
    for run in ("a1b2", None):
        trial = ask_trial(study, parse_space(sweep), sweep)
        assert trial is not None
        if run:
            trial.set_user_attr(RUN, run)
        study.tell(trial, 0.5)
    write_table(tmp_path / "results", study, sweep, parse_space(sweep))
    assert [row["run"] for row in rows_of(tmp_path / "results")] == ["a1b2", ""]
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["trials.csv"]


@pytest.mark.parametrize("count", [0, 1])
def test_few_trials_give_a_table_and_few_plots(
    study: Study, sweep: Sweep, tmp_path: Path, count: int
) -> None:
    end_trials(study, sweep, *[0.5] * count)
    end_other_trials(study, sweep)
    write_results(tmp_path / "results", study, sweep, parse_space(sweep))
    assert len(rows_of(tmp_path / "results")) == count + 2
    names = {path.name for path in (tmp_path / "results").iterdir()} - {"trials.csv"}
    assert names == ({"history.png", "slices.png"} if count else set())


@pytest.fixture
def replicates() -> Sweep:
    return changed(random_sweep(9, **{"train.seed": "range(0, 9)"}), replicates=True, **LOSS)


def test_replicates_have_a_spread_and_no_plots(
    study: Study, replicates: Sweep, tmp_path: Path
) -> None:
    end_trials(study, replicates, 0.5, 0.25, 0.75, 0.5)
    write_results(tmp_path / "results", study, replicates, parse_space(replicates))
    names = sorted(path.name for path in (tmp_path / "results").iterdir())
    assert names == ["spread.txt", "trials.csv"]
    assert (tmp_path / "results/spread.txt").read_text() == spread(study) + "\n"


def test_spread_is_students_interval(study: Study, replicates: Sweep) -> None:
    end_trials(study, replicates, 0.5, 0.25, 0.75, 0.5)
    end_other_trials(study, replicates)
    deviation = math.sqrt((0 + 0.0625 + 0.0625 + 0) / 3)
    half = t.ppf(0.975, 3) * deviation / 2
    assert spread(study) == (
        f"mean 0.5000, standard deviation {deviation:.4f}, 95 % interval "
        f"{0.5 - half:.4f} to {0.5 + half:.4f}, 4 seeds"
    )


def test_one_seed_has_no_spread(study: Study, replicates: Sweep) -> None:
    end_trials(study, replicates, 0.5)
    assert re.fullmatch(r"mean 0\.5000.* one seed: no .*", spread(study))


def test_tags_describe_the_best_trial(study: Study, sweep: Sweep) -> None:
    assert best_tags(study, sweep) == {}
    assert describe_results(study, sweep) == "**No trial is complete.**"
    end_trials(study, sweep, 0.5, 0.25, 0.75)
    tags = best_tags(study, sweep)
    assert tags["best.trial"] == "1"
    assert tags["best.value"] == "0.25"
    assert "train.epochs=3" in tags["best.overrides"].split()
    note = describe_results(study, sweep)
    assert f"**The best is trial 1: 0.2500.** `{tags['best.overrides']}`" in note
    assert f"make promote STUDY={sweep.name}" in note


def test_summary_names_the_best_trial_and_the_folder(
    study: Study, sweep: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print_summary(study, sweep, tmp_path)
    assert capsys.readouterr().out == f"{sweep.name}: no trial is complete\n"
    end_trials(study, sweep, 0.5, 0.25)
    print_summary(study, sweep, tmp_path)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("best is trial 1: val_loss 0.2500, ")
    assert str(tmp_path) in second
    assert f"make promote STUDY={sweep.name}" in second


def test_summary_of_replicates_is_their_spread(
    study: Study, replicates: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    end_trials(study, replicates, 0.5, 0.25)
    print_summary(study, replicates, tmp_path)
    assert capsys.readouterr().out == f"{replicates.name}: val_loss {spread(study)}\n"


def test_replicates_of_one_preset_have_no_best_trial(study: Study, replicates: Sweep) -> None:
    end_trials(study, replicates, 0.5, 0.25)
    assert best_tags(study, replicates) == {}
    note = describe_results(study, replicates)
    assert note.startswith(f"**val_loss: {spread(study)}**")
    assert "promote" not in note


def test_best_of_several_presets_is_the_one_with_the_best_mean(study: Study) -> None:
    params = {"experiment": "choice(tiny, fast)", "train.seed": "range(1, 3)"}
    sweep = changed(random_sweep(4, **params), replicates=True, **LOSS)
    values = {"tiny": [0.05, 0.45], "fast": [0.25, 0.125]}
    while trial := ask_trial(study, parse_space(sweep), sweep):
        study.tell(trial, values[trial.params["experiment"]].pop())
    tags = {"best.value": "0.1875", "best.overrides": "experiment=fast"}
    assert best_tags(study, sweep) == tags
    note = describe_results(study, sweep)
    first, second = spread(study).splitlines()
    assert f"**val_loss: {first}**\n\nval_loss: {second}\n" in note
    assert f"make promote STUDY={sweep.name}\n" in note


@pytest.mark.parametrize("of_trial", [False, True])
def test_command_for_a_study_in_postgresql_names_it_without_its_password(of_trial: bool) -> None:
    store = Store(Path("folder"), "digits", "postgresql://me:planted@db/optuna")
    wanted = "python -m pipeline.promote digits --storage postgresql://***@db/optuna"
    assert promote_command(store, "digits", of_trial) == wanted + " --trial NUMBER" * of_trial
