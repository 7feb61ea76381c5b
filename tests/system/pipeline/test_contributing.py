"""CONTRIBUTING.md's recipes, followed literally in a copy of the repository."""

import dataclasses
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.config.composition import compose
from pipeline.data.sample import sample_files
from tests.helpers.docs import commands
from tests.helpers.project import REPOSITORY, Project

pytestmark = pytest.mark.slow

TEXT = (REPOSITORY / "CONTRIBUTING.md").read_text()
RECIPES = dict(re.findall(r"^### (Add .*)\n((?:(?!^##).*\n)*)", TEXT, flags=re.M))
BLOCK = r"^<!-- (file|append|edit): (\S+) -->\n```\w*\n(.*?)^```"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A copy of the repository, and digits under the names of MNIST's files in place of mirrors."""
    digits = tmp_path / "digits"
    digits.mkdir()
    for name, content in sample_files(compose().data.files).items():
        (digits / name).write_bytes(content)
    params = (REPOSITORY / "params.yaml").read_text()
    folder = tmp_path / "project"
    folder.mkdir()
    project = Project.copy(folder, params.replace("epochs: null", "epochs: 1"))
    yield dataclasses.replace(project, variables={"DATA_MIRROR": str(digits)})
    shutil.rmtree(tmp_path)


def follow(recipe: str, project: Project) -> None:
    """Write, append and edit what the blocks of a recipe say."""
    for kind, name, content in re.findall(BLOCK, recipe, flags=re.M | re.S):
        path = project.folder / name
        if kind == "file":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        elif kind == "append":
            path.write_text(f"{path.read_text().rstrip()}\n\n\n{content}")
        else:
            (project.folder / "recipe.diff").write_text(content)
            project.run("git", "apply", "recipe.diff")
            (project.folder / "recipe.diff").unlink()


def test_there_is_a_recipe_for_each_kind_of_part() -> None:
    kinds = ("model", "optimizer", "data set", "augmentation", "metric", "stage", "launcher")
    assert [title.split(" ", 2)[2] for title in RECIPES] == list(kinds)


@pytest.mark.parametrize("title", RECIPES)
def test_recipe_works(project: Project, title: str) -> None:
    follow(RECIPES[title], project)
    project.run("ruff", "check", "pipeline")
    project.run("ruff", "format", "--check", "pipeline")
    project.run("lint-imports")
    shown = commands(RECIPES[title], "python") + commands(RECIPES[title], "dvc")
    for words in shown:
        project.run(*words)
    for _, *words in commands(RECIPES[title], "make"):
        project.run("make", "-o", ".venv/.requirements.txt.ready", *words)
