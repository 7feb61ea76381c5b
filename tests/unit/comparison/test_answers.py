"""Models of the tiny data set, which answer its validation images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.artifacts.keras_file import save_model
from pipeline.comparison.answers import Answered, answer_both, draw_differences, print_differences
from pipeline.comparison.result import Result
from pipeline.config.yaml_files import save_config
from pipeline.data.splits import Split, data_digest, load_split
from pipeline.models import mlp
from pipeline.system.errors import UserError
from tests.helpers import tiny
from tests.helpers.configs import MakeConfig


@pytest.fixture
def workspace(
    tmp_path: Path, prepared: Path, cfg: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with two models: `zero` answers 0 to all, `one` answers 1 to all."""
    monkeypatch.chdir(tmp_path)
    save_config(cfg("data=mnist_sample"), tmp_path / "composed.yaml")
    for answer, name in enumerate(("zero", "one")):
        model = mlp(tiny.SHAPE, tiny.CLASSES, depth=0, width=0)
        weights, bias = model.get_weights()
        model.set_weights([0 * weights, 9.0 * (np.arange(len(bias)) == answer)])
        save_model(model, tmp_path / f"{name}.keras")
    return tmp_path


def result(name: str, data: str = "") -> Result:
    return Result(name, model=f"{name}.keras", data=data)


@pytest.mark.slow
def test_both_models_answer_the_validation_images(
    workspace: Path, prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = load_split(prepared, "validation").labels
    zeros, ones = int((labels == 0).sum()), int((labels == 1).sum())
    answered = answer_both(result("zero"), result("one"), prepared)
    assert (answered.paired.won, answered.paired.lost) == (zeros, ones)
    picture = workspace / "build/differences.png"
    print_differences(result("zero"), result("one"), prepared, picture)
    printed = capsys.readouterr().out
    assert f"zero against one: accuracy {zeros / 30:.4f} against {ones / 30:.4f} on 30 " in printed
    assert f"{zeros} images won, {ones} lost; p = " in printed
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_model_with_more_classes_is_drawn(workspace: Path, prepared: Path) -> None:
    model = mlp(tiny.SHAPE, tiny.CLASSES + 3, depth=0, width=0)
    weights, bias = model.get_weights()
    model.set_weights([0 * weights, np.arange(len(bias))])
    save_model(model, workspace / "more.keras")
    picture = workspace / "build/differences.png"
    print_differences(result("zero"), result("more"), prepared, picture)
    assert picture.is_file()


def test_equal_models_have_no_picture(
    workspace: Path, prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print_differences(result("one"), result("one"), prepared, workspace / "picture.png")
    assert "0 images won, 0 lost; p = 1 " in capsys.readouterr().out
    assert not (workspace / "picture.png").exists()


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (Result("queued", state="queued"), "queued has no model"),
        (result("one", data="other"), "one was trained on other data"),
        (result("nowhere"), "there is no model file nowhere.keras"),
    ],
)
def test_models_that_cannot_be_compared_are_a_line(
    workspace: Path,
    prepared: Path,
    capsys: pytest.CaptureFixture[str],
    other: Result,
    reason: str,
) -> None:
    print_differences(result("zero"), other, prepared, workspace / "picture.png")
    printed = capsys.readouterr().out
    assert printed.startswith(f"\nThe answers of the models are not compared: {reason}")
    assert printed.count("\n") == 2


def test_workspace_without_data_is_a_line(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print_differences(result("zero"), result("one"), workspace / "data", workspace / "picture.png")
    assert "run `dvc repro prepare` first" in capsys.readouterr().out


@pytest.mark.slow
def test_data_is_known_by_its_digest_and_by_that_in_dvc_lock(
    workspace: Path, prepared: Path
) -> None:
    lock = "stages: {prepare: {cmd: python, outs: [{path: data/prepared, md5: d41d8c.dir}]}}"
    (workspace / "dvc.lock").write_text(lock)
    for digest in (data_digest(prepared), "d41d8c.dir"):
        answer_both(result("zero", data=digest), result("one"), prepared)
    with pytest.raises(UserError, match="other data"):
        answer_both(result("zero", data=""), result("one", data="0ther"), prepared)


@pytest.mark.slow
def test_picture_grows_with_the_cases(tmp_path: Path) -> None:
    images = Split(np.zeros((3, 9, 8), np.uint8), np.array([0, 1, 2], np.uint8))
    heights = []
    for first, second in (([0, 1, 2], [1, 1, 2]), ([0, 0, 2], [1, 1, 2]), ([0, 0, 0], [1, 1, 1])):
        answered = Answered(images, np.array(first), np.array(second))
        names = ("a" * 90, "$b\n")
        draw_differences(answered, names, ["None", "", "c" * 40], tmp_path / "picture.png")
        heights.append(Image.open(tmp_path / "picture.png").height)
    assert heights == sorted(set(heights))
