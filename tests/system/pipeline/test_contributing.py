"""CONTRIBUTING.md's recipes, followed literally in a copy of the repository."""

import dataclasses
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent

import pytest
from PIL import Image

from pipeline.config.composition import compose
from pipeline.data.sample import sample_files
from tests.helpers.docs import blocks
from tests.helpers.pictures import DIGIT, save_image
from tests.helpers.project import REPOSITORY, STAGES, Project
from tests.helpers.shipped import PARAMS

pytestmark = pytest.mark.slow

TEXT = (REPOSITORY / "CONTRIBUTING.md").read_text()
RECIPES = dict(re.findall(r"^### (Add .*)\n((?:(?!^##).*\n)*)", TEXT, flags=re.M))
BLOCK = r"^<!-- (file|append|deps|edit): (\S+) -->\n```\w*\n(.*?)^```"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A copy of the repository, and digits under the names of MNIST's files in place of mirrors."""
    digits = tmp_path / "digits"
    digits.mkdir()
    for name, content in sample_files(compose().data.files).items():
        (digits / name).write_bytes(content)
    folder = tmp_path / "project"
    folder.mkdir()
    project = Project.copy(folder, PARAMS.replace("epochs: null", "epochs: 1"))
    save_image(project.folder, Image.fromarray(DIGIT)).rename(project.folder / "seven.png")
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
        elif kind == "deps":
            text = project.read("dvc.yaml")
            for stage in name.split(","):
                before, found, after = text.partition(
                    f"cmd: python -m pipeline.{stage}\n    deps:\n"
                )
                text = f"{before}{found}{indent(content, ' ' * 6)}{after}"
            project.write("dvc.yaml", text)
        else:
            (project.folder / "recipe.diff").write_text(content)
            project.run("git", "apply", "recipe.diff")
            (project.folder / "recipe.diff").unlink()


def followed(recipe: str) -> bool:
    """Whether this repository has a file or an edit of a recipe already."""
    for kind, name, content in re.findall(BLOCK, recipe, flags=re.M | re.S):
        command = ["git", "apply", "--reverse", "--check", "-"]
        if kind == "file" and (REPOSITORY / name).exists():
            return True
        if (
            kind == "edit"
            and not subprocess.run(
                command, cwd=REPOSITORY, input=content, text=True, capture_output=True, check=False
            ).returncode
        ):
            return True
    return False


def test_there_is_a_recipe_for_each_kind_of_part() -> None:
    kinds = ("model", "optimizer", "data set", "augmentation", "metric", "stage", "launcher")
    assert [title.split(" ", 2)[2] for title in RECIPES] == list(kinds)


def test_all_recipes_work_together(project: Project) -> None:
    """A data set, a model, an optimizer, an augmentation, a metric and a stage, in one run."""
    for recipe in RECIPES.values():
        if not followed(recipe):
            follow(recipe, project)
    check_code(project)
    project.commit()
    parts = "data: kmnist\nmodel: gamma\noptimizer: rmsprop\naugment: brightness\n"
    project.write("params.yaml", f"{parts}set: {{train.epochs: 1}}\n")
    assert set(project.repro()) == {*STAGES, "card"}
    project.run("python", "-m", "pipeline.predict", "seven.png")
    composed = "from pipeline.config.composition import compose_sweep; print(compose_sweep"
    backend = project.python(f"{composed}(['launcher=background']).launcher.backend)")
    assert backend == "background"


def check_code(project: Project) -> None:
    project.run("ruff", "check", ".")
    project.run("ruff", "format", "--check", ".")
    project.run("lint-imports")


@pytest.mark.long
@pytest.mark.parametrize("title", RECIPES)
def test_recipe_works(project: Project, title: str) -> None:
    if followed(RECIPES[title]):
        pytest.skip("this repository has followed the recipe")
    follow(RECIPES[title], project)
    check_code(project)
    for line in "".join(blocks(RECIPES[title], "sh")).splitlines():
        program, *words = shlex.split(line)
        made = ("-o", ".venv/.requirements.txt.ready") if program == "make" else ()
        project.run(program, *made, *words)
