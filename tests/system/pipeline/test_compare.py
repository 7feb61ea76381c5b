"""Results side by side: `python -m pipeline.compare`, and DVC's own table."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios

import pytest

from pipeline import compare
from tests.helpers.docs import commands
from tests.helpers.project import Project

pytestmark = pytest.mark.slow

[SHOW] = commands(compare.__doc__ or "", "dvc exp show")
NAME_OF_RUN = """
import mlflow
runs = mlflow.search_runs(search_all_experiments=True, output_format="list")
print([run.info.run_name for run in runs if run.data.params.get("model.depth") == "0"][0])
"""


@pytest.fixture(scope="module")
def project(sample: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A trained project with an experiment, and with another one in the queue."""
    project = sample.duplicate(tmp_path_factory.mktemp("compare") / "project")
    project.run("dvc", "exp", "run", "--temp", "--name", "plain", "-S", "model=softmax")
    project.run("dvc", "exp", "run", "--queue", "--name", "later", "-S", "model=softmax")
    return project


def rows(project: Project, *names: str) -> dict[str, list[str]]:
    """The cells of the table, by name; those of the head are at `name`."""
    output = project.run("python", "-m", "pipeline.compare", *names)
    assert max(map(len, output.splitlines())) <= 120
    table = output.partition("\n\n")[0].splitlines()
    return {name: cells for name, *cells in (re.split(r" {2,}", line) for line in table)}


def test_experiments_are_next_to_the_workspace(project: Project) -> None:
    table = rows(project)
    assert list(table) == ["name", "workspace", "HEAD", "plain", "later"]
    assert table["name"][:2] == ["val_accuracy", "test_accuracy"]
    assert table["workspace"] == table["HEAD"]
    model = table["name"].index("model")
    assert (table["HEAD"][model], table["plain"][model]) == ("cnn", "softmax")
    assert float(table["HEAD"][1]) != float(table["plain"][1])
    assert table["later"][:2] == ["-", "-"]
    assert "queued" in table["later"]
    assert (project.folder / compare.CURVES).read_bytes().startswith(b"\x89PNG")


def test_revisions_experiments_and_runs_are_alike(project: Project) -> None:
    run = project.python(NAME_OF_RUN)
    assert run == "softmax mnist_sample"
    table = rows(project, "HEAD", "plain", run)
    assert list(table) == ["name", "HEAD", "plain", run]
    assert table["plain"][table["name"].index("model")] == "softmax"
    assert table["plain"] == table[run], "they are the same training"
    assert table["plain"] != table["HEAD"]
    assert "model.batch_norm" in table["name"], "a value that only one of them has"


@pytest.mark.long
def test_two_models_answer_the_same_images(project: Project) -> None:
    def against(*names: str) -> str:
        return project.run("python", "-m", "pipeline.compare", *names)

    assert "0 images won, 0 lost; p = 1 (" in against("models/model.keras", "HEAD")
    assert not (project.folder / compare.DIFFERENCES).exists()
    printed = against("git:HEAD", "plain")
    assert re.search(r"git:HEAD against plain: accuracy 0\.\d+ against 0\.\d+ on 400 ", printed)
    assert (project.folder / compare.DIFFERENCES).read_bytes().startswith(b"\x89PNG")
    assert "champion against plain: " in against("champion", "plain")


def test_unknown_name_is_one_line(project: Project) -> None:
    output = project.run("python", "-m", "pipeline.compare", "HEAD", "plan", status=1)
    assert output.startswith("error: no revision, experiment, MLflow run or model file 'plan'")
    assert "plain" in output
    assert output.count("\n") == 1


def test_table_of_dvc_fits_into_120_columns(project: Project) -> None:
    """The pager would cut off what does not."""
    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    environment = {**project.environment(), "PAGER": "cat"}
    environment.pop("COLUMNS", None)
    with subprocess.Popen(
        SHOW, cwd=project.folder, env=environment, stdin=inner, stdout=inner, stderr=inner
    ) as process:
        os.close(inner)
        shown = b""
        try:
            while part := os.read(outer, 4096):
                shown += part
        except OSError:  # the other end is closed
            os.close(outer)
    assert process.returncode == 0
    lines = re.sub(r"\x1b\[[\d;]*m", "", shown.decode()).splitlines()
    assert max(map(len, lines)) <= 120
    [head] = [line.split() for line in lines if "Experiment" in line]
    assert {"val_accuracy", "test_accuracy", "model"} <= set(head)
    assert [line for line in lines if "[plain]" in line and "softmax" in line]
