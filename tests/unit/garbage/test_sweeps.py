from pathlib import Path

import optuna
import pytest
from filelock import FileLock
from optuna.trial import TrialState

from pipeline.config.composition import compose
from pipeline.garbage.items import Item
from pipeline.garbage.sweeps import DATA, LOCKS, sweep_garbage
from pipeline.sweeps.data import data_folder
from pipeline.sweeps.storage import Store


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a sweep of the sample: trial 0 has ended, and trial 1 has not."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    study = Store(tmp_path / ".sweeps/depth", "depth").create("maximize")
    study.set_user_attr("base", ["data=mnist_sample"])
    for _ in range(2):
        trial = study.start()
        study.release(trial)
    study.tell(0, 0.5, TrialState.COMPLETE)
    for overrides in (["data=mnist_sample"], ["data=mnist"]):
        data_folder(compose(overrides)).mkdir(parents=True)
        (data_folder(compose(overrides)) / "file").write_text("x" * 50)
    return tmp_path


def garbage(root: Path) -> list[Item]:
    return list(sweep_garbage(root, []))


def test_data_without_a_sweep_and_locks_of_ended_trials_go(root: Path) -> None:
    unused = data_folder(compose(["data=mnist"]))
    expected = {(DATA, str(unused.relative_to(root)), 50), (LOCKS, "1 of depth", 0)}
    assert {(item.kind, item.name, item.size) for item in garbage(root)} == expected
    for item in garbage(root):
        assert item.remove
        item.remove()
    assert garbage(root) == []
    assert [path.name for path in (root / ".sweeps/.data").iterdir()] == [
        data_folder(compose(["data=mnist_sample"])).name
    ]
    assert [path.name for path in (root / ".sweeps/depth/locks").iterdir()] == ["1.lock"]


def test_locks_of_a_sweep_that_was_started_stay(root: Path) -> None:
    [locks] = [item for item in garbage(root) if item.kind == LOCKS]
    with FileLock(root / ".sweeps/depth/sweep.lock"):
        assert locks.remove
        locks.remove()
    assert len(list((root / ".sweeps/depth/locks").iterdir())) == 2


@pytest.mark.parametrize("base", [["data=nosuch"], None])
def test_sweep_that_cannot_be_read_keeps_all_data(root: Path, base: list[str] | None) -> None:
    study = optuna.load_study(
        study_name="depth", storage=Store(root / ".sweeps/depth", "depth").open().storage
    )
    study.set_user_attr("base", base)
    notes: list[str] = []
    assert [item.kind for item in sweep_garbage(root, notes)] == [LOCKS]
    [note] = notes
    assert note.startswith(".sweeps/depth/journal cannot be read: ")
    assert note.count("\n") == 0


def test_study_in_a_database_keeps_all_data(root: Path) -> None:
    (root / ".sweeps/shared").mkdir()
    notes: list[str] = []
    assert [item.kind for item in sweep_garbage(root, notes)] == [LOCKS]
    assert notes == ["prepared data of sweeps: the study of .sweeps/shared may be in a database"]
