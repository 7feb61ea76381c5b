"""A lesson of docs/learn: it runs its sweep once, and writes its page."""

import json

import pytest

from tests.helpers.project import Project

pytestmark = pytest.mark.slow


@pytest.mark.long
def test_lesson_writes_its_page_and_trains_once(edited: Project) -> None:
    edited.write("docs/learn/results.json", "{}")
    edited.write("conf/sweep/overfitting.yaml", short(edited.read("conf/sweep/overfitting.yaml")))
    before = edited.runs()
    output = edited.run("python", "-m", "pipeline.learn", "overfitting")
    assert output.splitlines()[-2].startswith("overfitting: docs/learn/overfitting.md, docs/learn/")
    [(name, lesson)] = json.loads(edited.read("docs/learn/results.json")).items()
    assert (name, [row["value"] for row in lesson["rows"]]) == ("overfitting", ["0", "0.5"])
    page = edited.read("docs/learn/overfitting.md")
    for row in lesson["rows"]:
        assert f"| {row['value']} | 1 | {row['accuracy']:.2%} |" in page
    assert edited.runs() == before + 3, "the sweep and its two trials"
    edited.run("python", "-m", "pipeline.learn", "overfitting")
    assert edited.runs() == before + 3
    assert edited.read("docs/learn/overfitting.md") == page


def short(sweep: str) -> str:
    """The sweep with fewer epochs."""
    return sweep.replace("train.epochs: 30", "train.epochs: 2")
