import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.pictures.digit import Digit, NoDigitError, find_digit
from pipeline.pictures.files import display_name
from pipeline.pictures.steps import StepsFolder, draw_steps
from tests.unit.pictures.test_digit import drawn

ROW = [0.1] * 10


@pytest.mark.slow
def test_steps_end_with_what_the_model_sees_and_answers() -> None:
    _, picture = drawn("felt pen", 0)
    found = find_digit(picture)
    sheet = np.asarray(draw_steps(picture, found, ROW))
    assert sheet.shape == (286, 6 * 252 + 12, 3)
    seen = sheet[34:274, 12 + 4 * 252 :][:, :240]
    shown = np.kron(found.image, np.ones((8, 8), np.uint8))
    np.testing.assert_array_equal(seen[8:232, 8:232, 0], shown)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["blank", "double"])
def test_refused_picture_has_steps_up_to_the_reason(kind: str) -> None:
    _, picture = drawn(kind, 0)
    with pytest.raises(NoDigitError) as refusal:
        find_digit(picture)
    sheet = draw_steps(picture, refusal.value.ink, (), str(refusal.value))
    assert sheet.width == 5 * 252 + 12


def test_picture_in_the_form_of_the_data_set_has_two_steps() -> None:
    image = np.zeros((28, 28), np.uint8)
    sheet = draw_steps(np.zeros((28, 28, 4), np.float32), Digit(image), ROW)
    assert sheet.width == 3 * 252 + 12


def test_reason_is_shown_without_the_name_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []

    def draw(*arguments: Any) -> Image.Image:
        shown.append(arguments[-1])
        return Image.new("L", (1, 1))

    monkeypatch.setattr("pipeline.pictures.steps.draw_steps", draw)
    picture = np.zeros((28, 28, 4), np.float32)
    for name in ("scan.png", "scan: 3.png", "scan\n3.png"):
        path = tmp_path / name
        reason = f"{display_name(path)}: no digit: it is blank"
        StepsFolder(tmp_path / "steps").save(path, picture, None, None, reason)
    assert shown == ["no digit: it is blank"] * 3


@pytest.mark.slow
def test_files_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    _, picture = drawn("felt pen", 0)
    for _ in range(2):  # the second run replaces the pictures of the first
        steps = StepsFolder(tmp_path / "steps")
        for folder in ("a", "b", "c"):
            steps.save(Path(folder) / "digit.jpg", picture, find_digit(picture), None, "")
    names = sorted(path.name for path in (tmp_path / "steps").iterdir())
    assert names == ["digit-2.png", "digit-3.png", "digit.png"]
    assert Image.open(io.BytesIO((tmp_path / "steps/digit.png").read_bytes())).width > 1000
