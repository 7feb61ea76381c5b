from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.splits import load_split
from pipeline.training.history import ROBUST
from pipeline.training.loop import train
from pipeline.training.watch import MeasureRobustness, ShowMistakes, draw_mistakes
from tests.helpers.configs import MakeConfig, without_speed


@pytest.mark.slow
def test_watching_changes_no_result_and_adds_its_metric(cfg: MakeConfig, prepared: Path) -> None:
    settings = cfg("model=mlp", "model.width=8", "model.dropout=0.5", "train.epochs=2")
    validation = load_split(prepared, "validation")
    pictures: dict[int, Image.Image] = {}
    watch = [MeasureRobustness(validation), ShowMistakes(validation, pictures.__setitem__)]
    plain = train(settings, prepared)
    watched = train(settings, prepared, callbacks=watch)
    for before, after in zip(plain.model.get_weights(), watched.model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    robust = [row.pop(ROBUST) for row in watched.history]
    assert all(0 <= value <= 1 for value in robust)
    assert without_speed(watched.history) == without_speed(plain.history)
    assert [*pictures] == [1, 2]


@pytest.mark.parametrize("wrong", [0, 3, 500])
def test_picture_has_the_mistakes(wrong: int) -> None:
    labels = np.zeros(500, np.uint8)
    answers = np.r_[np.ones(wrong), np.zeros(500 - wrong)].astype(int)
    images = np.full((500, 28, 28), 255, np.uint8)
    picture = np.asarray(draw_mistakes(images, labels, answers))
    cells = (picture[14:70, ::56] == 0).all(axis=0).sum()
    assert cells == min(wrong, 8), "of the first row"
