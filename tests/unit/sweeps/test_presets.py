"""The preset of a trial: what it composes to, and what is refused."""

import re
import resource
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from pipeline.config.composition import compose
from pipeline.config.paths import REPOSITORY
from pipeline.sweeps.parsing import parse_space
from pipeline.sweeps.preflight import check_same_study
from pipeline.sweeps.presets import write_preset
from pipeline.sweeps.storage import Store, Study, database_errors, find_study
from pipeline.sweeps.study import ask_trial
from pipeline.sweeps.trials import DEATHS, HISTORY, OVERRIDES, PROCESSOR, THREADS
from pipeline.system.errors import UserError
from tests.helpers.configs import assert_one_line, changed
from tests.helpers.studies import random_sweep

BASE = ["data=mnist_sample", "model=mlp", "train.epochs=3"]
ROW = {"epoch": 2, "val_accuracy": 0.75, "val_loss": 0.5}


@pytest.fixture
def sweeps(tmp_path: Path) -> Path:
    """The folder of the sweeps."""
    return tmp_path / ".sweeps"


def study_of(sweeps: Path, name: str = "digits", replicates: bool = False) -> Study:
    """A study without trials."""
    sweep = random_sweep(9, **{"model.width": "range(4, 9)"})
    if replicates:
        sweep = changed(sweep, params={"train.seed": "range(0, 9)"}, replicates=True)
    study = Store(sweeps / name, name).create("maximize")
    check_same_study(study, sweep, parse_space(sweep), compose(BASE), "data", BASE)
    return study


def end_trial(study: Study, value: float, overrides: list[str], **attributes: Any) -> None:
    sweep = random_sweep(9, **{"model.width": "range(4, 9)"})
    trial = ask_trial(study, parse_space(sweep), sweep)
    assert trial is not None
    given = {OVERRIDES: overrides, THREADS: 2, HISTORY: [ROW], **attributes}
    for key, attribute in given.items():
        trial.set_user_attr(key, attribute)
    study.tell(trial, value)


@pytest.mark.slow
def test_preset_composes_to_the_best_trial(sweeps: Path, conf: Path) -> None:
    study = study_of(sweeps)
    best = ["model.width=7", "optimizer=sgd", "optimizer.momentum=0.5", "augment=none"]
    for value, overrides in ((0.5, ["model.width=4"]), (0.75, best), (0.25, ["model.width=5"])):
        end_trial(study, value, overrides)
    path = write_preset(study)
    assert path == conf / "experiment/best_digits.yaml"
    wanted = compose([*BASE, "train.threads=2", *best]).settings()
    assert compose(["experiment=best_digits"], conf=conf).settings() == wanted
    head = path.read_text()
    assert f"# Trial {study.best_trial.number}, the best of 3 " in head
    assert "# Validation accuracy: 0.75, loss 0.5, at epoch 2" in head


@pytest.mark.slow
def test_cost_names_the_processor_of_the_trial(sweeps: Path, conf: Path) -> None:
    """The attempt of a worker that died has no known end, so its time is not in the duration."""
    study = study_of(sweeps)
    end_trial(study, 0.5, ["model.width=4"])
    assert re.search(r"^# Cost: \d+ s of training with 2 threads$", head_of(study), re.M)
    end_trial(study, 0.75, ["model.width=5"], **{PROCESSOR: "Planted 9000", DEATHS: 1})
    cost = r"^# Cost: at least \d+ s of training with 2 threads, on Planted 9000$"
    assert re.search(cost, head_of(study), re.M)


def head_of(study: Study) -> str:
    return write_preset(study).read_text()


@pytest.mark.slow
def test_any_complete_trial_can_be_promoted(sweeps: Path, conf: Path) -> None:
    study = study_of(sweeps)
    for value, width in ((0.5, 4), (0.75, 7)):
        end_trial(study, value, [f"model.width={width}"])
    study.tell(study.ask(), state=TrialState.PRUNED)
    path = write_preset(study, number=0)
    assert path == conf / "experiment/digits_trial_0.yaml"
    assert path.read_text().splitlines()[1] == "# Trial 0 of 3 trials in the sweep digits."
    chosen = compose(["experiment=digits_trial_0"], conf=conf).settings()
    assert chosen == compose([*BASE, "train.threads=2", "model.width=4"]).settings()
    pruned = study.trials[-1].number
    complete = f"0, {study.best_trial.number}"
    for number in (pruned, 99, -1):
        message = rf"^digits: trial {number} is not complete; .*: {complete}$"
        with pytest.raises(UserError, match=message):
            write_preset(study, number=number)


def test_similar_name_of_a_study_is_suggested(sweeps: Path) -> None:
    study_of(sweeps)
    with pytest.raises(UserError, match=r"no study 'digit' in .*did you mean digits\?"):
        find_study(sweeps / "digit", "digit")


def test_study_that_has_not_started_is_not_damaged(sweeps: Path) -> None:
    """A kill came before its settings were recorded; its first trials may be waiting."""
    study = Store(sweeps / "digits", "digits").create("maximize")
    study.enqueue_trial({"model.width": 4})
    with pytest.raises(UserError, match=r"^the sweep digits has not started yet: "):
        find_study(sweeps / "digits", "digits")


def test_journal_that_cannot_be_read_is_not_damaged(sweeps: Path) -> None:
    study_of(sweeps)
    with (sweeps / "digits/journal").open("rb") as journal:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (journal.fileno() + 1, limits[1]))
        try:
            with pytest.raises(UserError) as error:
                find_study(sweeps / "digits", "digits")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert_one_line(error.value, [str(sweeps / "digits/journal"), "Too many open files"])
    assert "damaged" not in str(error.value)


def test_results_without_a_study_may_be_of_one_in_postgresql(sweeps: Path) -> None:
    (sweeps / "digits/results").mkdir(parents=True)
    with pytest.raises(UserError, match=r"no study 'digits' in .*PostgreSQL.* --storage ADDRESS$"):
        find_study(sweeps / "digits", "digits")


def test_study_without_a_complete_trial_has_nothing_to_promote(sweeps: Path) -> None:
    study = study_of(sweeps)
    study.tell(study.ask(), state=TrialState.FAIL)
    with pytest.raises(UserError, match=r"^digits: no trial is complete"):
        write_preset(study)


def test_replicates_have_no_best_trial(sweeps: Path) -> None:
    study = study_of(sweeps, "seeds", replicates=True)
    end_trial(study, 0.5, ["train.seed=1"])
    with pytest.raises(UserError, match=r"^seeds: .* seeds"):
        write_preset(study)
    assert not (REPOSITORY / "conf/experiment/best_seeds.yaml").exists()


def damage_line(journal: Path, number: int, line: bytes | None) -> None:
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[number : number + 1] = [line] if line is not None else []
    journal.write_bytes(b"".join(lines))


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "text": lambda journal: damage_line(journal, 3, b"garbage\n"),
    "half a line": lambda journal: damage_line(journal, 3, b'{"op_code": 4, "wor\n'),
    "binary": lambda journal: damage_line(journal, 3, bytes(range(128, 256)) + b"\n"),
    "another value": lambda journal: damage_line(journal, 3, b"[]\n"),
    "another operation": lambda journal: damage_line(journal, 3, b'{"op_code": 99}\n'),
    "no first line": lambda journal: damage_line(journal, 0, None),
    "no settings": lambda journal: damage_line(journal, 3, None),
    "empty": lambda journal: journal.write_bytes(b""),
    "a folder": lambda journal: (
        journal.rename(journal.with_name("a")).parent.joinpath("journal").mkdir()
    ),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_damaged_journal_is_one_line_and_nothing_is_removed(
    sweeps: Path, damage: Callable[[Path], object]
) -> None:
    study = study_of(sweeps)
    end_trial(study, 0.5, ["model.width=4"])
    journal = sweeps / "digits/journal"
    damage(journal)
    before = sorted(path.name for path in journal.parent.iterdir())
    with pytest.raises(UserError) as error:
        find_study(sweeps / "digits", "digits")
    assert_one_line(error.value, [str(journal), "is damaged: ", f"mv {journal.parent} "])
    assert sorted(path.name for path in journal.parent.iterdir()) == before


@pytest.mark.parametrize("damage", ["text", "binary", "another value", "a folder"])
def test_sweep_does_not_go_on_with_a_damaged_journal(sweeps: Path, damage: str) -> None:
    study_of(sweeps)
    DAMAGES[damage](sweeps / "digits/journal")
    with pytest.raises(UserError, match="is damaged: "):
        Store(sweeps / "digits", "digits").create("maximize")


def test_missing_driver_is_one_line(sweeps: Path) -> None:
    if find_spec("psycopg") or find_spec("psycopg2"):
        pytest.skip("a driver is installed")
    with (
        pytest.raises(UserError, match=r"driver of PostgreSQL.*requirements-cluster"),
        database_errors(),
    ):
        find_study(sweeps / "digits", "digits", "postgresql://me:planted@127.0.0.1:9/a")
