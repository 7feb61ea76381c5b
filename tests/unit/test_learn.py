"""The lessons of docs/learn. Their sweeps run in tests/system."""

import json
import re
from pathlib import Path

import pytest
import yaml

from pipeline.config.composition import compose
from pipeline.config.overrides import flatten
from pipeline.config.paths import CONF, REPOSITORY
from pipeline.lessons.catalogue import FOLDER, LESSONS, Lesson, find_lesson
from pipeline.lessons.pages import BEGIN, RESULTS, draw_lesson, with_results
from pipeline.lessons.runs import Found
from pipeline.sweeps.plan import make_plan
from pipeline.system.errors import UserError
from tests.helpers.commands import assert_error, assert_help


def row(epoch: int, loss: float) -> dict[str, float]:
    values = {"loss": loss, "accuracy": 0.5, "val_loss": loss, "val_accuracy": 1 - loss}
    return {"epoch": epoch, **values}


def test_help_says_what_is_written(tmp_path: Path) -> None:
    assert_help("learn", tmp_path, "docs/learn", "LESSON", "continues")


def test_unknown_lesson_is_one_line(tmp_path: Path) -> None:
    message = "no lesson 'deepth'; did you mean depth?"
    assert_error("learn", tmp_path, "deepth", message=message)


@pytest.mark.slow
@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
def test_lesson_compares_what_its_sweep_searches(lesson: Lesson, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("{}\n")
    plan = make_plan([f"sweep={lesson.name}", *lesson.overrides], tmp_path / "params.yaml")
    assert {*lesson.compared} <= {parameter.target for parameter in plan.space.searched}


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
def test_page_has_its_command_its_picture_and_what_was_measured(lesson: Lesson) -> None:
    results = json.loads(RESULTS.read_text())
    page = lesson.page.read_text()
    assert f"    make learn LESSON={lesson.name}\n" in page
    assert with_results(lesson, page, results) == page
    assert lesson.picture.read_bytes().startswith(b"\x89PNG")
    assert f"]({lesson.page.name})" in (FOLDER / "README.md").read_text()


def test_page_without_a_place_for_the_results_is_one_line() -> None:
    with pytest.raises(UserError, match=f"has no {BEGIN}"):
        with_results(LESSONS[0], "a page", {LESSONS[0].name: {"rows": [], "machine": ""}})


def test_failed_value_is_said_and_not_drawn() -> None:
    lesson = find_lesson("learning_rates")
    found = [Found("0.1", 1, "", [row(1, 0.5), row(2, 0.25)]), Found("10.0", 1, "", [])]
    results = {lesson.name: {"rows": [{"value": "10.0", "trials": 1, "rest": ""}], "machine": "m"}}
    assert "all failed" in with_results(lesson, lesson.page.read_text(), results)
    figure = draw_lesson(lesson, found)
    legend = figure.axes[1].get_legend()
    assert legend
    assert [text.get_text() for text in legend.get_texts()] == ["learning_rate: 0.1"]
    best = figure.axes[2]
    assert [label.get_text() for label in best.get_xticklabels()] == ["0.1"]
    assert best.lines[0].get_ydata() == [found[0].best["val_accuracy"]]


def test_small_difference_looks_small() -> None:
    """Two accuracies of 0.9452 and 0.9458 were drawn at the bottom and at the top."""
    found = [Found(value, 1, "", [row(1, loss)]) for value, loss in (("a", 0.0548), ("b", 0.0542))]
    low, high = draw_lesson(find_lesson("bias"), found).axes[2].get_ylim()
    assert high - low == pytest.approx(0.01)
    assert low < 0.9452 < 0.9458 < high


def test_glossary_names_keys_and_files_that_exist() -> None:
    text = (FOLDER / "glossary.md").read_text()
    rows = [line.split("|")[1:4] for line in text.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 25
    for term, _, where in rows:
        names = re.findall(r"`([^`]+)`", where)
        files = [name for name in names if "/" in name]
        assert files, term
        assert all((REPOSITORY / name).exists() for name in files), term
        for key in (name for name in names if re.fullmatch(r"[a-z_]+\.[a-z_]+", name)):
            group, _, name = key.partition(".")
            path = next(REPOSITORY / file for file in files)
            content = yaml.safe_load(path.read_text())
            assert name in (content if path.parent != CONF else content[group]), term
    assert "train.seed" in flatten(compose().model_dump())
