import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts.keras_file import save_model
from pipeline.config.paths import CHECKPOINTS
from pipeline.config.schema import Config
from pipeline.system.errors import UserError
from pipeline.training import checkpoint
from pipeline.training.checkpoint import Checkpoints, State, fingerprint, remove_finished
from pipeline.training.loop import Trained, train
from tests.helpers.configs import MakeConfig, changed, without_speed
from tests.helpers.privileges import drop_privileges


class Killed(BaseException):
    """Stands for a kill: nothing catches it, and nothing is saved because of it."""


def kill_after(epoch: int) -> Callable[[int, dict[str, float]], None]:
    def on_epoch(number: int, row: dict[str, float]) -> None:
        if number == epoch:
            raise Killed

    return on_epoch


def state(epochs: int) -> State:
    arrays = [np.arange(6.0).reshape(2, 3), np.array(epochs)]
    history = [{"epoch": n, "val_loss": 1 / n, "val_accuracy": 0.5} for n in range(1, epochs + 1)]
    return State(history, arrays, arrays[:1], arrays[1:])


def equal(one: State, two: State) -> bool:
    return one.history == two.history and all(
        np.array_equal(a, b)
        for name in ("variables", "optimizer", "best")
        for a, b in zip(getattr(one, name), getattr(two, name), strict=True)
    )


def test_newest_state_is_loaded(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "c")
    assert checkpoints.load() is None
    for epochs in (1, 2, 10):
        checkpoints.save(state(epochs), last=True)
    loaded = Checkpoints(tmp_path / "c").load()
    assert loaded is not None
    assert equal(loaded, state(10))


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: b"not a checkpoint",
        lambda content: content[:300] + bytes([content[300] ^ 1]) + content[301:],
    ],
    ids=["truncated", "empty", "text", "a bit flipped"],
)
def test_damaged_checkpoint_is_renamed_and_the_previous_one_loaded(
    tmp_path: Path, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state(1), last=True)
    checkpoints.save(state(2), last=True)
    newest = max(tmp_path.glob("epoch-*"))
    newest.write_bytes(damage(newest.read_bytes()))
    loaded = checkpoints.load()
    assert loaded is not None
    assert equal(loaded, state(1))
    assert "is damaged" in caplog.text
    assert newest.with_name(f"damaged-{newest.name}").exists()


def make_folder(path: Path) -> None:
    path.mkdir()
    (path / "mine").touch()


def copy_of_another_file(path: Path) -> None:
    content = b"not the arrays of a checkpoint"
    path.write_bytes(hashlib.sha256(content).digest() + content)


@pytest.mark.parametrize(
    ("epoch", "make"),
    [
        (1, make_folder),
        (3, make_folder),
        (1, lambda path: path.symlink_to("nowhere")),
        (3, lambda path: path.symlink_to("nowhere")),
        (3, copy_of_another_file),
    ],
    ids=["old folder", "new folder", "old link", "new link", "other content"],
)
def test_what_is_not_a_checkpoint_is_renamed(
    tmp_path: Path, epoch: int, make: Callable[[Path], None]
) -> None:
    """Twice, because the first name is taken then. It does not hinder new checkpoints."""
    for number in (1, 2):
        checkpoints = Checkpoints(tmp_path)
        checkpoints.save(state(2), last=True)
        make(tmp_path / f"epoch-{epoch:06}")
        loaded = checkpoints.load()
        assert loaded is not None
        assert equal(loaded, state(2))
        for epochs in (3, 4):
            checkpoints.save(state(epochs), last=True)
        assert len(list(tmp_path.glob("damaged-*"))) == number
        for saved in tmp_path.glob("epoch-*"):
            saved.unlink()


@pytest.mark.slow
def test_checkpoint_without_permission_is_renamed(tmp_path: Path) -> None:
    Checkpoints(tmp_path).save(state(1), last=True)
    (tmp_path / "epoch-000001").chmod(0)
    code = (
        "from pathlib import Path; from pipeline.training.checkpoint import Checkpoints;"
        f"print(Checkpoints(Path({str(tmp_path)!r})).load())"
    )
    shown = subprocess.check_output([sys.executable, "-c", code], preexec_fn=drop_privileges)
    assert shown == b"None\n"
    assert [path.name for path in tmp_path.iterdir()] == ["damaged-epoch-000001"]


def test_file_in_the_place_of_the_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "c").touch()
    with pytest.raises(UserError, match="must be a folder of checkpoints: remove it"):
        Checkpoints(tmp_path / "c").load()
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(UserError, match="link must be a folder of checkpoints: remove it"):
        Checkpoints(tmp_path / "link" / "c").load()


@pytest.mark.slow
def test_checkpoints_of_another_network_are_one_line(
    cfg: MakeConfig, prepared: Path, tmp_path: Path
) -> None:
    train(cfg("train.epochs=1", "model=softmax"), prepared, checkpoints=Checkpoints(tmp_path))
    with pytest.raises(UserError, match="has checkpoints of another network: remove this folder"):
        train(cfg("train.epochs=1", "model=mlp"), prepared, checkpoints=Checkpoints(tmp_path))


def test_checkpoint_that_is_too_expensive_is_skipped(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    big = [np.random.default_rng(0).random(2_000_000)]
    checkpoints.save(State([{"epoch": 1}], big, big, big), last=False)
    checkpoints.save(State([{"epoch": 1}, {"epoch": 2}], big, big, big), last=False)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-000001"]


def test_fingerprint_changes_with_the_settings_that_change_the_result(
    cfg: MakeConfig, prepared: Path
) -> None:
    changes = ["train.seed=1", "optimizer.learning_rate=0.1", "model=rnn", "augment=none"]
    fingerprints = {
        fingerprint(cfg(*overrides), prepared) for overrides in ([], *([c] for c in changes))
    }
    assert len(fingerprints) == 5
    same = ["tracking.run_name=x", "evaluate.worst_mistakes=3", "fetch.retries=1"]
    assert fingerprint(cfg(*same), prepared) == fingerprint(cfg(), prepared)


TINY = ("train.epochs=5", "train.batch_size=32")


def saved(trained: Trained, folder: Path) -> bytes:
    save_model(trained.model, folder / "model.keras")
    return (folder / "model.keras").read_bytes()


def resumed(cfg: Config, prepared: Path, folder: Path, kills: list[int]) -> Trained:
    for epoch in kills:
        with pytest.raises(Killed):
            train(cfg, prepared, kill_after(epoch), Checkpoints(folder))
    return train(cfg, prepared, checkpoints=Checkpoints(folder))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "kills"),
    [
        (["model=mlp", "model.dropout=0.5", "augment=affine", "optimizer=adam"], [1, 3]),
        (["model=cnn", "model.dropout=0.2", "augment=shift", "optimizer=adamw"], [2, 4]),
        (["model=rnn", "model.dropout=0.3", "augment=none", "optimizer=momentum"], [1, 2, 3]),
        (["model=softmax", "augment=shift", "optimizer=adagrad", "schedule=cosine"], [3]),
        (["model=mlp", "optimizer=sgd", "schedule=constant", "augment=none"], [5]),
        (
            # With so high a rate, later epochs are worse: it stops early, after the best epoch.
            [
                *("model=mlp", "model.batch_norm=true", "optimizer=sgd", "schedule=constant"),
                *("optimizer.learning_rate=3.0", "train.epochs=30", "train.patience=2"),
            ],
            [1, 2],
        ),
    ],
    ids=["mlp adam", "cnn adamw", "rnn momentum", "softmax adagrad", "last epoch", "early stop"],
)
def test_killed_training_ends_in_the_same_bytes(
    cfg: MakeConfig, prepared: Path, tmp_path: Path, overrides: list[str], kills: list[int]
) -> None:
    settings = cfg(*TINY, *overrides)
    whole = train(settings, prepared)
    continued = resumed(settings, prepared, tmp_path / "checkpoints", kills)
    assert saved(continued, tmp_path) == saved(whole, tmp_path)
    assert without_speed(continued.history) == without_speed(whole.history)


@pytest.mark.slow
def test_resumed_training_reports_the_earlier_epochs_too(
    cfg: MakeConfig, prepared: Path, tmp_path: Path
) -> None:
    settings = cfg(*TINY, "model=softmax")
    with pytest.raises(Killed):
        train(settings, prepared, kill_after(2), Checkpoints(tmp_path))
    seen: list[int] = []
    train(settings, prepared, lambda epoch, row: seen.append(epoch), Checkpoints(tmp_path))
    assert seen == [1, 2, 3, 4, 5]
    more = changed(settings, train=changed(settings.train, seed=1))
    assert fingerprint(more, prepared) != fingerprint(settings, prepared)


def test_only_the_checkpoints_of_the_evaluated_training_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVC may not have recorded another finished training yet: a kill would start it anew."""
    monkeypatch.setattr(checkpoint, "repository_root", lambda: tmp_path)
    one, other = (Checkpoints(tmp_path / CHECKPOINTS / name) for name in ("one", "other"))
    one.finish("abc")
    other.finish("def")
    remove_finished("abc")
    assert (one.folder.exists(), other.folder.exists()) == (False, True)
