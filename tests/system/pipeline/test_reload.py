"""Every way to load a model and to predict with it, with the real tools."""

import json
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers import server
from tests.helpers.pictures import write_digit
from tests.helpers.project import Project

pytestmark = pytest.mark.slow


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


def test_every_way_of_loading_gives_the_same_predictions(sample: Project) -> None:
    recorded = json.loads(sample.read("reports/metrics.json"))["test_accuracy"]
    answers = json.loads(sample.python(PREDICT_ALL))
    assert set(answers["accuracy"].values()) == {recorded}
    assert max(answers["gap"].values()) < 1e-6

    images = np.load(sample.folder / "data/prepared/test_images.npy")[:3]
    with served(sample, "models:/mnist-sample-classifier@champion") as url:
        body = json.dumps({"inputs": images.tolist()}).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            served_answers = json.load(response)["predictions"]
    np.testing.assert_allclose(served_answers, answers["first"], atol=1e-6)


@contextmanager
def served(project: Project, uri: str) -> Iterator[str]:
    """`mlflow models serve`, until the block ends."""
    port = server.free_port()
    command = ["mlflow", "models", "serve", "--env-manager", "local", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--model-uri", uri],
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
    "uri", ["models/model.keras", "models:/mnist-sample-classifier@champion", "git:HEAD"]
)
def test_predict_reads_digits_from_image_files(sample: Project, tmp_path: Path, uri: str) -> None:
    images = np.load(sample.folder / "data/prepared/test_images.npy")
    labels = np.load(sample.folder / "data/prepared/test_labels.npy")
    rows = sample.read("reports/predictions.csv").splitlines()[1:]
    right = [i for i, row in enumerate(rows) if row.split(",")[1] == row.split(",")[2]][::200]
    paths = []
    for i in right:
        # Dark ink on light paper, as from a scanner.
        paths.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(255 - images[i]).save(paths[-1])
    output = sample.run("python", "-m", "pipeline.predict", "--model", uri, *paths)
    answers = [line.split("\t") for line in output.splitlines()]
    assert [path for path, _, _ in answers] == paths
    assert [int(digit) for _, digit, _ in answers] == labels[right].tolist()


def test_predict_reads_the_good_files_and_names_the_bad_ones(
    sample: Project, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    write_digit(good, 7)
    bad.write_text("not an image")
    missing = tmp_path / "missing.png"
    command = ("python", "-m", "pipeline.predict", str(bad), str(good), str(missing))
    output = sample.run(*command, status=1)
    assert f"error: {bad}: not an image" in output
    assert f"error: {missing}: no such file" in output
    assert f"{good}\t" in output
    assert "Traceback" not in output


def test_mistakes_are_drawn(sample: Project) -> None:
    rows = [row.split(",") for row in sample.read("reports/predictions.csv").splitlines()[1:]]
    mistakes = sum(actual != predicted for _, actual, predicted, _ in rows)
    assert mistakes >= 10, "the picture needs two rows of five digits"
    pixels = np.asarray(Image.open(sample.folder / "reports/mistakes.png").convert("L"))
    for column in range(5):
        width = pixels.shape[1] // 5
        place = pixels[pixels.shape[0] // 2 :, column * width : (column + 1) * width]
        assert (place < 64).sum() > 100, f"column {column} shows no digit"


@pytest.mark.long
def test_pulled_results_need_no_repro(sample: Project, tmp_path: Path) -> None:
    remote, clone = tmp_path / "remote", tmp_path / "clone"
    sample.run("dvc", "remote", "add", "--local", "--default", "--force", "here", str(remote))
    sample.run("dvc", "push", "--quiet")
    sample.run("git", "clone", "--quiet", ".", str(clone))
    cloned = Project(clone)
    cloned.run("dvc", "remote", "add", "--local", "--default", "here", str(remote))
    cloned.run("dvc", "pull", "--quiet")
    assert cloned.repro() == ["compose"]
    assert not (clone / "mlflow.db").exists()

    # The store of the clone does not have the model's run: evaluate restores it.
    assert cloned.repro("--force", "--single-item", "evaluate") == ["evaluate"]
    assert cloned.run("git", "diff", "dvc.lock") == ""
    assert cloned.runs() == 1
