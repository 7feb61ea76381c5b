"""The whole pipeline, with the real tools, in a copy of the repository."""

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import server
from project import MNIST, Project

from pipeline import idx

pytestmark = pytest.mark.slow

STAGES = ["compose", "fetch", "prepare", "train", "evaluate"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The sample, trained and evaluated. Each test leaves it as it found it."""
    project = Project.copy(tmp_path_factory.mktemp("sample"), "data: mnist_sample\nmodel: null\n")
    assert project.repro() == STAGES
    project.commit()
    return project


@pytest.fixture
def edited(project: Project) -> Iterator[Project]:
    """The project, whose edits and runs are taken back after the test."""
    store, kept = project.folder / "mlflow.db", project.folder / ".git/mlflow.db"
    shutil.copy(store, kept)
    yield project
    shutil.copy(kept, store)
    project.run("git", "checkout", "--quiet", ".")
    project.run("git", "clean", "--quiet", "--force", "conf")
    project.run("dvc", "checkout", "--quiet", "--force")


def test_sample_reaches_its_accuracy(project: Project) -> None:
    metrics = json.loads(project.read("reports/metrics.json"))
    assert metrics["test_accuracy"] > 0.93
    assert metrics["test_accuracy_low"] < metrics["test_accuracy"] < metrics["test_accuracy_high"]


def test_second_repro_runs_nothing(project: Project) -> None:
    assert project.repro() == []


def test_forced_repro_gives_the_same_bytes(edited: Project) -> None:
    assert edited.repro("--force") == STAGES
    assert edited.run("git", "diff", "dvc.lock") == ""


def test_killed_pipeline_ends_in_the_same_bytes_and_one_run(
    project: Project, tmp_path: Path
) -> None:
    killed = Project.copy(tmp_path / "killed", project.read("params.yaml"))
    for marker in ("Running stage 'train'", "epoch 1/", "epoch 3/", "validation accuracy"):
        _kill_when(killed, marker)
    killed.repro()
    assert killed.read("dvc.lock") == project.read("dvc.lock")
    rows = json.loads(
        killed.python(
            "import json, mlflow; c = mlflow.MlflowClient();"
            "runs = mlflow.search_runs(search_all_experiments=True, output_format='list');"
            "print(json.dumps([[r.info.status, [m.step for m in"
            " c.get_metric_history(r.info.run_id, 'val_loss')]] for r in runs]))"
        )
    )
    assert rows == [["FINISHED", [1, 2, 3, 4]]]
    assert not list((killed.folder / ".checkpoints").iterdir())


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "Ctrl-C"]
)
def test_training_that_is_stopped_is_marked_and_goes_on(
    edited: Project, number: signal.Signals, status: int
) -> None:
    edited.write("params.yaml", f"data: mnist_sample\ntrain: {{seed: {status}}}\n")
    edited.run("dvc", "repro", "prepare")
    train = ["python", "-m", "pipeline.train"]
    assert _stop_when(edited, "epoch 2/", train, number) == status
    assert _newest(edited)[0] == "KILLED"
    # What shapes no result may change before it goes on.
    append("params.yaml", "tracking: {run_name: again}\n")(edited)
    edited.run("dvc", "repro", "compose")
    assert "resumed after epoch" in edited.run(*train)
    assert _newest(edited) == ["FINISHED", 4, None]


def test_training_that_fails_says_why_in_one_line_and_in_its_run(edited: Project) -> None:
    edited.write("params.yaml", "data: mnist_sample\noptimizer: {learning_rate: 3.0e+38}\n")
    edited.run("dvc", "repro", "prepare")
    output = edited.run("python", "-m", "pipeline.train", status=1)
    assert "error: the loss is" in output
    assert "Traceback" not in output
    status, epochs, failure = _newest(edited)
    assert (status, epochs) == ("FAILED", 0)
    assert "UserError: the loss is" in failure


def _newest(project: Project) -> list[Any]:
    """The newest run's status, its number of logged epochs, and why it failed."""
    return json.loads(
        project.python(
            "import json, mlflow;"
            "run, = mlflow.search_runs(search_all_experiments=True, output_format='list',"
            " order_by=['attributes.start_time DESC'], max_results=1);"
            "steps = mlflow.MlflowClient().get_metric_history(run.info.run_id, 'val_loss');"
            "print(json.dumps([run.info.status, len(steps), run.data.tags.get('failure')]))"
        )
    )


def _kill_when(project: Project, marker: str) -> None:
    """Run `dvc repro`, and kill -9 it and its children as soon as it prints a line."""
    assert _stop_when(project, marker, ["dvc", "repro"], signal.SIGKILL) == -signal.SIGKILL


def _stop_when(project: Project, marker: str, command: list[str], number: signal.Signals) -> int:
    """Run a command, and signal its process group as soon as it prints a line; its status."""
    process = project.start(*command)
    assert process.stdout is not None
    for line in process.stdout:
        if marker in line:
            break
    os.killpg(process.pid, number)
    process.stdout.read()
    return process.wait(60)


Edit = Callable[[Project], None]


def append(name: str, text: str) -> Edit:
    return lambda project: project.write(name, project.read(name) + text)


def replace(name: str, old: str, new: str) -> Edit:
    def edit(project: Project) -> None:
        text = project.read(name)
        assert text.count(old) == 1, f"{name} has {text.count(old)} times {old!r}"
        project.write(name, text.replace(old, new))

    return edit


@pytest.mark.parametrize(
    ("edit", "stages"),
    [
        pytest.param(
            replace("conf/model/rnn.yaml", "units: 64", "units: 32"),
            ["compose"],
            id="an unused group",
        ),
        pytest.param(
            append("params.yaml", "optimizer: {learning_rate: 0.004}\n"),
            ["compose", "train", "evaluate"],
            id="learning rate",
        ),
        pytest.param(
            append("params.yaml", "prepare: {seed: 1}\n"),
            ["compose", "prepare", "train", "evaluate"],
            id="split seed",
        ),
        pytest.param(
            replace("conf/data/mnist_sample.yaml", "mirrors: [", "mirrors: [/nowhere, "),
            ["compose"],
            id="a mirror",
        ),
        pytest.param(
            append("params.yaml", "evaluate: {worst_mistakes: 5}\n"),
            ["compose", "evaluate"],
            id="a plot setting",
        ),
        pytest.param(
            append("params.yaml", "tracking: {run_name: again}\n"),
            ["compose"],
            id="a name",
        ),
        # The model comes out the same, so DVC has nothing to evaluate.
        pytest.param(append("pipeline/train.py", "# a line\n"), ["train"], id="a line of train.py"),
        pytest.param(
            append("pipeline/evaluate.py", "# a line\n"), ["evaluate"], id="a line of evaluate.py"
        ),
    ],
)
def test_edit_reruns_exactly_what_it_affects(
    edited: Project, edit: Edit, stages: list[str]
) -> None:
    edit(edited)
    assert edited.repro() == stages


def test_malformed_params_stop_the_pipeline_with_one_line(edited: Project) -> None:
    edited.write("params.yaml", "trian: {epochs: 3}\n")
    output = edited.run("dvc", "repro", status=255)
    assert "error: trian" in output
    assert "params.yaml" in output
    assert "train" in output
    assert "Traceback" not in output


def test_run_holds_what_is_needed_to_repeat_it(project: Project) -> None:
    run = json.loads(
        project.python(
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
    assert run["steps"] == [1, 2, 3, 4]
    assert run["params"]["train.seed"] == "0"
    assert {"seed.init", "seed.order", "seed.augment"} <= run["params"].keys()
    assert run["tags"]["deterministic"] == "true"
    assert len(run["tags"]["mlflow.source.git.commit"]) == 40
    assert {"cpu", "threads", "git.dirty", "data.sha256", "version.keras"} <= run["tags"].keys()
    assert run["datasets"] == [f"mnist_sample-{s}" for s in ("train", "validation", "test")]
    assert {"composed.yaml", "history.csv", "reports"} <= set(run["artifacts"])
    metrics = json.loads(project.read("reports/metrics.json"))
    assert metrics.items() <= run["metrics"].items()


PREDICT_ALL = """
import json, sys, numpy as np, keras, mlflow
import mlflow.keras
run = mlflow.search_runs(search_all_experiments=True, order_by=["start_time"]).run_id[0]
images = np.load("data/prepared/test_images.npy")
labels = np.load("data/prepared/test_labels.npy")
champion = "models:/mnist-sample-classifier@champion"
answers = {
    "file": keras.models.load_model("models/model.keras").predict(images, verbose=0),
    "keras run": mlflow.keras.load_model(f"runs:/{run}/model").predict(images, verbose=0),
    "keras champion": mlflow.keras.load_model(champion).predict(images, verbose=0),
    "pyfunc run": mlflow.pyfunc.load_model(f"runs:/{run}/model").predict(images),
    "pyfunc champion": mlflow.pyfunc.load_model(champion).predict(images),
}
print(json.dumps({
    "gap": {k: float(np.abs(v - answers["file"]).max()) for k, v in answers.items()},
    "accuracy": {k: float((v.argmax(1) == labels).mean()) for k, v in answers.items()},
    "first": answers["file"][:3].tolist(),
    "run": run,
}))
"""


def test_every_way_of_reloading_gives_the_same_answers(project: Project) -> None:
    recorded = json.loads(project.read("reports/metrics.json"))["test_accuracy"]
    answers = json.loads(project.python(PREDICT_ALL))
    assert set(answers["accuracy"].values()) == {recorded}
    assert max(answers["gap"].values()) < 1e-6

    images = np.load(project.folder / "data/prepared/test_images.npy")[:3]
    with served(project, "models:/mnist-sample-classifier@champion") as url:
        body = json.dumps({"inputs": images.tolist()}).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            served_answers = json.load(response)["predictions"]
    np.testing.assert_allclose(served_answers, answers["first"], atol=1e-6)


@contextmanager
def served(project: Project, address: str) -> Iterator[str]:
    """`mlflow models serve`, until the block ends."""
    port = server.free_port()
    command = ["mlflow", "models", "serve", "--env-manager", "local", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--model-uri", address],
        cwd=project.folder,
        env=project.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        server.wait(process, f"http://127.0.0.1:{port}/ping")
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        server.end(process, signal.SIGTERM)


@pytest.mark.parametrize(
    "address", ["models/model.keras", "models:/mnist-sample-classifier@champion", "git:HEAD"]
)
def test_predict_reads_digits_from_image_files(
    project: Project, tmp_path: Path, address: str
) -> None:
    from PIL import Image

    images = np.load(project.folder / "data/prepared/test_images.npy")
    labels = np.load(project.folder / "data/prepared/test_labels.npy")
    rows = project.read("reports/predictions.csv").splitlines()[1:]
    right = [i for i, row in enumerate(rows) if row.split(",")[1] == row.split(",")[2]][::200]
    paths = []
    for i in right:
        # Ink on paper, as a scanner sees it.
        paths.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(255 - images[i]).save(paths[-1])
    output = project.run("python", "-m", "pipeline.predict", "--model", address, *paths)
    answers = [line.split("\t") for line in output.splitlines()]
    assert [path for path, _, _ in answers] == paths
    assert [int(digit) for _, digit, _ in answers] == labels[right].tolist()


def test_predict_answers_the_good_files_and_says_which_was_bad(
    project: Project, tmp_path: Path
) -> None:
    from PIL import Image

    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.new("L", (28, 28)).save(good)
    bad.write_text("not an image")
    missing = tmp_path / "missing.png"
    command = ("python", "-m", "pipeline.predict", str(bad), str(good), str(missing))
    output = project.run(*command, status=1)
    assert f"error: {bad}: not an image" in output
    assert f"error: {missing}: no such file" in output
    assert f"{good}\t" in output
    assert "Traceback" not in output


def test_mistakes_are_drawn(project: Project) -> None:
    from PIL import Image

    rows = [row.split(",") for row in project.read("reports/predictions.csv").splitlines()[1:]]
    mistakes = sum(actual != predicted for _, actual, predicted, _ in rows)
    assert mistakes >= 10, "two rows of five pictures are looked at below"
    pixels = np.asarray(Image.open(project.folder / "reports/mistakes.png").convert("L"))
    for column in range(5):
        width = pixels.shape[1] // 5
        place = pixels[pixels.shape[0] // 2 :, column * width : (column + 1) * width]
        assert (place < 64).sum() > 100, f"column {column} shows no digit"


def test_dvc_tells_and_draws_the_results(project: Project) -> None:
    assert "test_accuracy" in project.run("dvc", "metrics", "show")
    drawn = project.run("dvc", "plots", "show", "--out", "dvc_plots")
    page = (project.folder / "dvc_plots/index.html").read_text()
    assert "index.html" in drawn
    assert "mistakes.png" in page
    assert page.count("vega-lite") >= 6


def test_experiments_compose_and_land_in_the_real_store(edited: Project) -> None:
    before = _runs(edited)
    edited.run("dvc", "exp", "run", "--temp", "-S", "model=mlp", "-S", "+train.epochs=2")
    edited.run("dvc", "exp", "run", "--queue", "-S", "model=rnn,softmax", "-S", "+train.epochs=1")
    edited.run("dvc", "queue", "start", "--jobs", "2")
    deadline = time.monotonic() + 300
    while "Queued" in (status := edited.run("dvc", "queue", "status")) or "Running" in status:
        assert time.monotonic() < deadline, status
        time.sleep(2)
    assert status.count("Success") == 2, status
    assert _runs(edited) == before + 3
    shown = edited.run("dvc", "exp", "show", "--csv")
    assert shown.count("Success") + shown.count("branch") >= 3


def _runs(project: Project) -> int:
    return int(
        project.python("import mlflow; print(len(mlflow.search_runs(search_all_experiments=True)))")
    )


def test_diffs_tell_what_an_edit_changed(edited: Project) -> None:
    edited.write("params.yaml", edited.read("params.yaml") + "optimizer: {learning_rate: 0.01}\n")
    edited.repro()
    assert "optimizer.learning_rate" in edited.run("dvc", "params", "diff")
    assert "test_loss" in edited.run("dvc", "metrics", "diff")


def test_training_goes_on_from_where_it_was_left(edited: Project) -> None:
    first = edited.python(RUN_OF_MODEL)
    edited.write(
        "params.yaml",
        "data: mnist_sample\nschedule: constant\n"
        "train: {init_from: models/model.keras, epochs: 3}\noptimizer: {learning_rate: 1.0e-4}\n",
    )
    # DVC removes the model before it trains; that it was, dvc.lock knows, after a kill too.
    _kill_when(edited, "epoch 1/")
    edited.repro()
    assert edited.python(PARENT_OF_MODEL) == first
    history = [line.split(",") for line in edited.read("models/history.csv").splitlines()[1:]]
    assert len(history) == 3
    assert float(history[0][4]) > 0.9, "it begins where the first ended"
    for address in (f"runs:/{first}/model", "git:HEAD"):
        edited.write(
            "params.yaml",
            f"data: mnist_sample\ntrain: {{epochs: 1, init_from: '{address}'}}\n",
        )
        assert "train" in edited.repro()
        assert edited.python(PARENT_OF_MODEL) == first


RUN_OF_MODEL = """
import hashlib, mlflow
digest = hashlib.sha256(open("models/model.keras", "rb").read()).hexdigest()
run, = mlflow.search_runs(search_all_experiments=True, output_format="list", max_results=1,
    filter_string=f"tags.`model.sha256` = '{digest}'")
print(run.info.run_id)
"""
PARENT_OF_MODEL = RUN_OF_MODEL + "print(run.data.tags['mlflow.parentRunId'])"


def test_pulled_results_need_no_repro(project: Project, tmp_path: Path) -> None:
    remote, clone = tmp_path / "remote", tmp_path / "clone"
    project.run("dvc", "remote", "add", "--local", "--default", "--force", "here", str(remote))
    project.run("dvc", "push", "--quiet")
    project.run("git", "clone", "--quiet", ".", str(clone))
    cloned = Project(clone)
    cloned.run("dvc", "remote", "add", "--local", "--default", "here", str(remote))
    cloned.run("dvc", "pull", "--quiet")
    assert cloned.repro() == []
    assert not (clone / "mlflow.db").exists()

    # Its store knows nothing of the model: evaluate writes the run anew.
    assert cloned.repro("--force", "--single-item", "evaluate") == ["evaluate"]
    assert cloned.run("git", "diff", "dvc.lock") == ""
    assert _runs(cloned) == 1


def test_own_data_set_is_one_yaml_file(edited: Project, tmp_path: Path) -> None:
    # Bars: the class says which third of a 12 × 20 image is light.
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
    edited.write("params.yaml", "data: bars\ntrain: {epochs: 10, batch_size: 32}\n")
    assert edited.repro() == STAGES
    assert json.loads(edited.read("reports/metrics.json"))["test_accuracy"] > 0.9
    assert "top,top" in edited.read("reports/predictions.csv")
    assert "bars-classifier" in edited.python(
        "import mlflow; print(mlflow.MlflowClient()"
        ".get_model_version_by_alias('bars-classifier', 'champion').name)"
    )


@pytest.mark.skipif(not MNIST.is_dir(), reason="MNIST's files are not beside the checkout")
def test_mnist_reaches_99_percent(tmp_path: Path) -> None:
    # Where the first of its mirrors is: beside the checkout.
    (tmp_path / "shared/datasets").mkdir(parents=True)
    (tmp_path / "shared/datasets/mnist").symlink_to(MNIST)
    project = Project.copy(tmp_path / "checkout", "experiment: default\n")
    assert project.repro() == STAGES
    assert json.loads(project.read("reports/metrics.json"))["test_accuracy"] >= 0.99
