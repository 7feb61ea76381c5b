"""The whole pipeline, with the real tools, in a copy of the repository."""

import csv
import dataclasses
import gzip
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.data import idx
from tests.helpers.project import MNIST, STAGES, Project

pytestmark = pytest.mark.slow


def test_sample_reaches_its_accuracy(sample: Project) -> None:
    metrics = json.loads(sample.read("reports/metrics.json"))
    assert metrics["test_accuracy"] > 0.93
    assert metrics["test_accuracy_low"] < metrics["test_accuracy"] < metrics["test_accuracy_high"]


def test_second_repro_runs_nothing(sample: Project) -> None:
    # Compose always runs: it looks for other versions of libraries.
    assert sample.repro() == ["compose"]


@pytest.mark.long  # `verify` does the same in a clean folder
def test_forced_repro_gives_the_same_bytes(edited: Project) -> None:
    assert edited.repro("--force") == STAGES
    assert edited.run("git", "diff", "dvc.lock") == ""


Edit = Callable[[Project], None]


def append(name: str, text: str) -> Edit:
    return lambda project: project.write(name, project.read(name) + text)


def replace(name: str, old: str, new: str) -> Edit:
    def edit(project: Project) -> None:
        text = project.read(name)
        assert text.count(old) == 1, f"{name} has {text.count(old)} times {old!r}"
        project.write(name, text.replace(old, new))

    return edit


def changed(project: Project) -> list[str]:
    """Compose, and return the stages that DVC then finds changed."""
    assert project.repro("compose") == ["compose"]
    status = json.loads(project.run("dvc", "status", "--json"))
    return [stage for stage in STAGES if stage in status and stage != "compose"]


@pytest.mark.parametrize(
    ("edit", "stages"),
    [
        pytest.param(
            replace("conf/model/rnn.yaml", "units: 64", "units: 32"), [], id="an unused group"
        ),
        pytest.param(
            append("params.yaml", "set: {optimizer: {learning_rate: 0.004}}\n"),
            ["train", "evaluate"],
            id="learning rate",
        ),
        pytest.param(
            append("params.yaml", "set: {prepare: {seed: 1}}\n"),
            ["prepare", "evaluate"],  # and then train, because its data have changed
            id="split seed",
        ),
        pytest.param(
            replace("conf/data/mnist_sample.yaml", "mirrors: [", "mirrors: [/nowhere, "),
            [],
            id="a mirror",
        ),
        pytest.param(
            append("params.yaml", "set: {evaluate: {worst_mistakes: 5}}\n"),
            ["evaluate"],
            id="a plot setting",
        ),
        pytest.param(
            append("params.yaml", "set: {tracking: {run_name: again}}\n"), [], id="a name"
        ),
        pytest.param(append("pipeline/train.py", "# a line\n"), ["train"], id="a line of train.py"),
        pytest.param(
            append("pipeline/evaluate.py", "# a line\n"), ["evaluate"], id="a line of evaluate.py"
        ),
    ],
)
def test_edit_changes_exactly_what_it_affects(
    edited: Project, edit: Edit, stages: list[str]
) -> None:
    edit(edited)
    assert changed(edited) == stages


@pytest.mark.parametrize(
    ("library", "stages"),
    [
        ("keras", ["train", "evaluate"]),
        ("numpy", ["prepare", "train", "evaluate"]),
        ("pillow", ["evaluate"]),
        ("ruff", []),
    ],
)
def test_upgrade_reruns_exactly_what_it_can_change(
    edited: Project, tmp_path: Path, library: str, stages: list[str]
) -> None:
    installed = tmp_path / f"{library}-99.0.dist-info"
    installed.mkdir()
    text = f"Metadata-Version: 2.1\nName: {library}\nVersion: 99.0\n"
    (installed / "METADATA").write_text(text)
    assert changed(dataclasses.replace(edited, variables={"PYTHONPATH": str(tmp_path)})) == stages


def test_malformed_params_stop_the_pipeline_with_one_line(edited: Project) -> None:
    edited.write("params.yaml", "trian: {epochs: 3}\n")
    output = edited.run("dvc", "repro", status=255)
    assert "error: trian" in output
    assert "params.yaml" in output
    assert "train" in output
    assert "Traceback" not in output


@pytest.mark.long
def test_diffs_show_what_an_edit_changed(edited: Project) -> None:
    edited.write(
        "params.yaml", edited.read("params.yaml") + "set: {optimizer: {learning_rate: 0.02}}\n"
    )
    assert edited.repro() == ["compose", "train", "evaluate"]
    assert "optimizer.learning_rate" in edited.run("dvc", "params", "diff")
    assert "test_loss" in edited.run("dvc", "metrics", "diff")


def test_run_has_everything_to_repeat_it(sample: Project) -> None:
    run = json.loads(
        sample.python(
            "import json, mlflow\n"
            "run, = mlflow.search_runs(search_all_experiments=True, output_format='list',"
            " filter_string=\"metrics.test_accuracy > 0 and status = 'FINISHED'\","
            " order_by=['start_time'], max_results=1)\n"
            "client = mlflow.MlflowClient()\n"
            "history = client.get_metric_history(run.info.run_id, 'val_accuracy')\n"
            "print(json.dumps({**run.data.to_dictionary(),"
            " 'steps': [m.step for m in history],"
            " 'datasets': [d.dataset.name for d in run.inputs.dataset_inputs],"
            " 'artifacts': [a.path for a in client.list_artifacts(run.info.run_id)]}))"
        )
    )
    assert run["steps"] == [1, 2, 3]
    assert run["params"]["train.seed"] == "0"
    assert {"seed.init", "seed.order", "seed.augment"} <= run["params"].keys()
    assert run["tags"]["deterministic"] == "true"
    assert len(run["tags"]["mlflow.source.git.commit"]) == 40
    assert {"cpu", "threads", "git.dirty", "data.sha256", "version.keras"} <= run["tags"].keys()
    assert run["datasets"] == [f"mnist_sample-{s}" for s in ("train", "validation", "test")]
    assert {"composed.yaml", "history.csv", "reports"} <= set(run["artifacts"])
    metrics = json.loads(sample.read("reports/metrics.json"))
    assert metrics.items() <= run["metrics"].items()


def test_clone_shows_the_results_without_a_pull(sample: Project, tmp_path: Path) -> None:
    sample.run("git", "clone", "--quiet", ".", str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    for name in ("models/metrics.json", "models/history.csv", "reports/per_class.csv"):
        assert clone.read(name) == sample.read(name)
    accuracy = json.loads(sample.read("reports/metrics.json"))["test_accuracy"]
    assert f"{accuracy:.5g}" in clone.run("dvc", "metrics", "show")
    shown = clone.run("dvc", "exp", "show", "--csv")
    assert "failed to load" not in shown
    head, workspace, commit = csv.reader(shown.splitlines())
    column = head.index("test_accuracy")
    assert float(workspace[column]) == float(commit[column]) == accuracy
    assert "!" not in [*workspace, *commit]


@pytest.mark.long
def test_run_cache_restores_metrics_and_tables(edited: Project) -> None:
    """Also those that are in git: DVC keeps a copy of them for its run-cache."""
    names = ("dvc.lock", "models/metrics.json", "models/history.csv", "reports/per_class.csv")
    before = {name: edited.read(name) for name in names}
    params = edited.read("params.yaml")
    edited.write("params.yaml", f"{params}set: {{train: {{seed: 7}}}}\n")
    assert "train" in edited.repro()
    assert edited.read("models/metrics.json") != before["models/metrics.json"]
    edited.write("params.yaml", params)
    edited.run("dvc", "repro")
    assert {name: edited.read(name) for name in names} == before
    assert edited.run("git", "status", "--porcelain") == ""


def test_clean_keeps_what_is_in_git(edited: Project) -> None:
    edited.run("make", "clean")
    assert edited.run("git", "status", "--porcelain") == ""
    assert not (edited.folder / "models/model.keras").exists()
    assert edited.repro() == ["compose"], "all else is in DVC's run-cache"
    assert (edited.folder / "models/model.keras").exists()


def test_dvc_shows_and_plots_the_results(sample: Project) -> None:
    assert "test_accuracy" in sample.run("dvc", "metrics", "show")
    drawn = sample.run("dvc", "plots", "show", "--out", "dvc_plots")
    page = (sample.folder / "dvc_plots/index.html").read_text()
    assert "index.html" in drawn
    assert "mistakes.png" in page
    assert page.count("vega-lite") >= 6


def test_experiments_log_to_the_store_of_the_repository(edited: Project) -> None:
    before = edited.runs()
    edited.run(
        "dvc", "exp", "run", "--queue", "-S", "model=mlp,softmax", "-S", "+set.train.epochs=1"
    )
    edited.run("dvc", "queue", "start", "--jobs", "2")
    deadline = time.monotonic() + 300
    while "Queued" in (status := edited.run("dvc", "queue", "status")) or "Running" in status:
        assert time.monotonic() < deadline, status
        time.sleep(5)
    assert status.count("Success") == 2, status
    assert edited.runs() == before + 2
    shown = edited.run("dvc", "exp", "show", "--csv")
    assert shown.count("Success") + shown.count("branch") >= 2


@pytest.mark.long
def test_own_data_set_is_one_yaml_file(edited: Project, tmp_path: Path) -> None:
    # The class is the number of the third of a 12 × 20 image that is light.
    rng = np.random.default_rng(0)
    for name, count in (("train", 300), ("test", 60)):
        labels = np.arange(count, dtype=np.uint8) % 3
        images = rng.integers(0, 100, (count, 12, 20), np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[label * 4 : label * 4 + 4] += 150
        (tmp_path / f"{name}.images").write_bytes(idx.dump(images))
        (tmp_path / f"{name}.labels").write_bytes(idx.dump(labels))
    edited.write(
        "conf/data/bars.yaml",
        f"""
name: bars
mirrors: ['{tmp_path}']
files:
  train_images: {{name: train.images}}
  train_labels: {{name: train.labels}}
  test_images: {{name: test.images}}
  test_labels: {{name: test.labels}}
num_classes: null
class_names: [top, middle, bottom]
""",
    )
    edited.write("params.yaml", "data: bars\nset: {train: {epochs: 10, batch_size: 32}}\n")
    assert edited.repro() == STAGES
    assert json.loads(edited.read("reports/metrics.json"))["test_accuracy"] > 0.9
    assert "top,top" in edited.read("reports/predictions.csv")
    assert "bars-classifier" in edited.python(
        "import mlflow; print(mlflow.MlflowClient()"
        ".get_model_version_by_alias('bars-classifier', 'champion').name)"
    )


@pytest.mark.long
def test_letters_of_emnist_are_upright_and_named(edited: Project, tmp_path: Path) -> None:
    # A letter is a light bar across the image at its own height. EMNIST stores it as a column.
    rng = np.random.default_rng(0)
    (tmp_path / "gzip").mkdir()
    for name, count in (("train", 1560), ("test", 260)):
        labels = (np.arange(count) % 26 + 1).astype(np.uint8)
        images = rng.integers(0, 100, (count, 28, 28), np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[:, label] += 150
        for part, array in (("images-idx3", images), ("labels-idx1", labels)):
            path = tmp_path / f"gzip/emnist-letters-{name}-{part}-ubyte.gz"
            path.write_bytes(gzip.compress(idx.dump(array)))
    edited.write("params.yaml", "data: emnist_letters\nmodel: mlp\naugment: none\n")
    project = dataclasses.replace(edited, variables={"DATA_MIRROR": str(tmp_path)})
    assert project.repro() == STAGES
    light = np.load(project.folder / "data/prepared/test_images.npy").mean(2).argmax(1)
    classes = np.load(project.folder / "data/prepared/test_labels.npy")
    np.testing.assert_array_equal(light, classes + 1)
    assert json.loads(project.read("reports/metrics.json"))["test_accuracy"] > 0.9
    assert "0,A,A," in project.read("reports/predictions.csv")
    assert "25,Z,Z," in project.read("reports/predictions.csv")


@pytest.mark.skipif(not MNIST.is_dir(), reason="MNIST's files are not next to the checkout")
def test_mnist_reaches_99_percent(tmp_path: Path) -> None:
    # The first mirror of MNIST is a folder next to the checkout.
    (tmp_path / "shared/datasets").mkdir(parents=True)
    (tmp_path / "shared/datasets/mnist").symlink_to(MNIST)
    project = Project.copy(tmp_path / "checkout", "experiment: default\n")
    assert project.repro() == STAGES
    assert json.loads(project.read("reports/metrics.json"))["test_accuracy"] >= 0.99
