import os
from importlib.util import find_spec
from pathlib import Path

import pytest
from optuna.trial import TrialState

from pipeline.config.schema import Direction
from pipeline.sweeps.locks import FileTrialLock
from pipeline.sweeps.storage import Store, database_errors
from pipeline.sweeps.trials import SETTINGS
from pipeline.system.errors import UserError
from tests.helpers.studies import finished_params, random_sweep, run_trials


def test_database_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    unreachable = Store(tmp_path, "study", "postgresql://127.0.0.1:1/none")
    with pytest.raises(UserError, match=r"^launcher.storage: .+") as error, database_errors():
        unreachable.create("minimize")
    assert "\n" not in str(error.value)


def test_partial_last_line_of_the_journal_is_truncated(store: Store) -> None:
    run_trials(store, random_sweep(2, **{"train.epochs": "range(1, 9)"}))
    with (store.folder / "journal").open("a") as journal:
        journal.write('{"op_code":6,"work')
    assert len(store.create("maximize").trials) == 2
    run_trials(store, random_sweep(3, **{"train.epochs": "range(1, 9)"}))
    assert len(finished_params(store)) == 3


def test_journal_is_locked_while_it_is_truncated(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    truncate, free = os.truncate, []

    def note(path: Path, length: int) -> None:
        free.append(FileTrialLock(store.folder / "journal.lock").try_acquire())
        truncate(path, length)

    with (store.folder / "journal").open("a") as journal:
        journal.write('{"op_code":6,"work')
    monkeypatch.setattr(os, "truncate", note)
    store.create("maximize")
    assert free == [False]


def test_study_that_does_not_exist_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        Store(tmp_path, "study").open()


def test_existing_study_is_opened_with_its_trials(store: Store) -> None:
    run_trials(store, random_sweep(2, **{"train.epochs": "range(1, 9)"}))
    assert len(store.create("maximize").trials) == len(store.open().trials) == 2


@pytest.mark.parametrize("started", [False, True])
def test_study_that_has_not_started_may_get_other_objectives(store: Store, started: bool) -> None:
    """A mistake in `sweep.from` is found after the study has been made."""
    if started:
        store.open().set_user_attr(SETTINGS, {"metric": "val_accuracy"})
    asked: list[list[Direction]] = [["maximize", "minimize"], ["minimize"]]
    for directions in asked:
        found = [direction.name.lower() for direction in store.create(*directions).directions]
        assert found == (["maximize"] if started else directions)


def test_trial_is_stale_when_its_lock_is_free(store: Store) -> None:
    study, other = store.open(), store.open()
    first, second = study.start(), study.start()
    assert other.stale() == []
    study.release(first)
    assert [trial.number for trial in other.stale()] == [first.number]
    study.tell(first, state=TrialState.FAIL)
    study.release(second)
    assert [trial.number for trial in other.stale()] == [second.number]


def test_lock_of_a_new_trial_that_another_process_holds_is_an_error(store: Store) -> None:
    lock = store.trial_lock(0)
    assert lock.try_acquire()
    with pytest.raises(RuntimeError, match="new trial 0"):
        store.open().start()


def test_trial_that_was_not_started_can_be_released(store: Store) -> None:
    study = store.open()
    study.release(study.ask())


def test_session_is_stopped_for_every_worker_and_no_other_session(store: Store) -> None:
    study, other = store.open(), store.open()
    assert not other.is_stopped("one")
    study.stop_session("one")
    assert other.is_stopped("one")
    assert not other.is_stopped("two")


def test_attribute_of_a_trial_of_another_process_is_set(store: Store) -> None:
    study, other = store.open(), store.open()
    trial = study.start()
    other.set_attribute(other.trials[0], "failure", "a reason")
    assert study.trials[trial.number].user_attrs["failure"] == "a reason"


def test_missing_driver_of_a_database_is_one_line(tmp_path: Path) -> None:
    if find_spec("psycopg"):
        pytest.skip("a driver is installed")
    store = Store(tmp_path, "study", "postgresql://me:planted@127.0.0.1:9/a")
    message = r"^launcher.storage: .*: the driver of PostgreSQL is missing: make setup LOCK="
    for start in (store.open, lambda: store.create("minimize"), store.trial_lock(0).try_acquire):
        with pytest.raises(UserError, match=message), database_errors():
            start()


def test_other_missing_package_is_not_the_driver() -> None:
    with pytest.raises(ImportError, match="no cmaes"), database_errors():
        raise ImportError("no cmaes")
