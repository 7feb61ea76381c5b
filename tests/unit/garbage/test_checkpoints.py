import hashlib
import os
import time
from pathlib import Path

import pytest

from pipeline.garbage.checkpoints import DAMAGED, KIND, checkpoint_garbage, trial_checkpoint_garbage

Runs = dict[str, list[str]]


def make(root: Path, name: str, *files: str, days: float = 0, top: str = ".checkpoints") -> None:
    folder = root / top / name
    folder.mkdir(parents=True)
    then = time.time() - days * 24 * 3600
    for file in files:
        (folder / file).write_text("x" * 10)
        os.utime(folder / file, (then, then))
    os.utime(folder, (then, then))


def garbage(root: Path, runs: Runs | None = None, deleted: set[str] | None = None) -> set[str]:
    """The names of the folders, without .checkpoints/."""
    items = checkpoint_garbage(root, runs or {}, deleted or set())
    return {item.name.removeprefix(".checkpoints/") for item in items}


def test_interrupted_training_can_be_resumed_for_a_week(tmp_path: Path) -> None:
    make(tmp_path, "new", "epoch-000001")
    make(tmp_path, "days", "epoch-000001", days=6.9)
    make(tmp_path, "weeks", "epoch-000001", days=7.1)
    assert garbage(tmp_path) == {"weeks"}


def test_trial_can_be_resumed_for_a_week(tmp_path: Path) -> None:
    top = ".sweeps/depth/checkpoints"
    make(tmp_path, "days", "epoch-000001", days=6.9, top=top)
    make(tmp_path, "weeks", "epoch-000001", days=7.1, top=top)
    (tmp_path / top / ".removed-old").mkdir()
    items = list(trial_checkpoint_garbage(tmp_path))
    assert [item.name for item in items] == [f"{top}/weeks", f"{top}/.removed-old"]
    for item in items:
        assert item.remove
        item.remove()
    assert [path.name for path in (tmp_path / top).iterdir()] == ["days"]


def test_finished_training_is_not_resumed(tmp_path: Path) -> None:
    make(tmp_path, "finished", "epoch-000001", "finished")
    [item] = checkpoint_garbage(tmp_path, {}, set())
    assert (item.kind, item.size) == (KIND, 20)
    assert item.remove
    item.remove()
    assert list((tmp_path / ".checkpoints").iterdir()) == []


def test_finished_training_that_dvc_has_not_recorded_is_resumed(tmp_path: Path) -> None:
    """It was killed in the moment between. Else `dvc repro` would train again, in another run."""
    make(tmp_path, "finished", "epoch-000001", "finished")
    (tmp_path / "models").mkdir()
    (tmp_path / "models/model.keras").write_text("weights")
    assert garbage(tmp_path) == set()
    (tmp_path / "dvc.lock").write_text("md5: of the model before")
    assert garbage(tmp_path) == set()
    (tmp_path / "dvc.lock").write_text(f"md5: {hashlib.md5(b'weights').hexdigest()}")
    assert garbage(tmp_path) == {"finished"}


@pytest.mark.parametrize(
    ("runs", "found"), [(["a"], {"training"}), (["a", "b"], set()), (["b"], set()), ([], set())]
)
def test_checkpoints_go_with_their_deleted_run(
    tmp_path: Path, runs: list[str], found: set[str]
) -> None:
    make(tmp_path, "training", "epoch-000001")
    assert garbage(tmp_path, {"training": runs}, {"a", "c"}) == found


def test_what_is_no_folder_goes(tmp_path: Path) -> None:
    make(tmp_path, "new", "epoch-000001", "damaged-epoch-000002")
    (tmp_path / ".checkpoints/file").touch()
    (tmp_path / ".checkpoints/link").symlink_to("new")
    (tmp_path / ".checkpoints/.removed-old").mkdir()
    items = list(checkpoint_garbage(tmp_path, {}, set()))
    assert [item.name for item in items if item.kind == DAMAGED] == [
        ".checkpoints/new/damaged-epoch-000002"
    ]
    for item in items:
        assert item.remove
        item.remove()
    assert [path.name for path in (tmp_path / ".checkpoints").iterdir()] == ["new"]
    assert [path.name for path in (tmp_path / ".checkpoints/new").iterdir()] == ["epoch-000001"]


def test_project_without_checkpoints_has_no_garbage(tmp_path: Path) -> None:
    assert garbage(tmp_path) == set()
