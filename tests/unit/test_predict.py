import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.artifacts.keras_file import save_model
from pipeline.models import mlp
from tests.helpers.commands import assert_error, assert_help, assert_usage_error
from tests.helpers.pictures import DIGIT, save_image
from tests.helpers.project import REPOSITORY


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file that classifies 8 × 8 images into three classes."""
    path = tmp_path_factory.mktemp("model") / "model.keras"
    save_model(mlp((8, 8), 3, depth=1, width=5), path)
    return path


def predict(model: Path, *paths: Path | bytes) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline.predict", "--model", model, *paths]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_each_file_name_is_printed_on_one_line(tmp_path: Path, model: Path) -> None:
    image = save_image(tmp_path, Image.fromarray(DIGIT)).read_bytes()
    names = {
        b"a\nb.png": r"a\nb.png",
        b"a\tb.png": r"a\tb.png",
        b"\xff.png": r"\udcff.png",
        b"\x1b[2J.png": r"\x1b[2J.png",
        "sieben ✓.png".encode(): "sieben ✓.png",
    }
    good, bad = tmp_path / "good", tmp_path / "bad"
    for folder, content in ((good, image), (bad, b"not an image")):
        folder.mkdir()
        for name in names:
            Path(os.fsdecode(bytes(folder) + b"/" + name)).write_bytes(content)
    result = predict(model, *(bytes(folder) + b"/" + n for folder in (good, bad) for n in names))
    answered = [line.split("\t")[0] for line in result.stdout.splitlines()]
    refused = [line.partition(": not")[0] for line in result.stderr.splitlines()]
    assert answered == [f"{good}/{name}" for name in names.values()]
    assert refused == [f"error: {bad}/{name}" for name in names.values()]


@pytest.mark.slow
def test_a_thousand_files_are_answered_in_order_without_the_bad_one(
    tmp_path: Path, model: Path
) -> None:
    rng = np.random.default_rng(0)
    for i in range(1000):
        Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(tmp_path / f"{i:03}.png")
    paths = sorted(tmp_path.iterdir())
    paths[500].write_bytes(b"not an image")
    start = time.monotonic()
    first = predict(model, paths[0])
    one = time.monotonic() - start
    result = predict(model, *paths)
    many = time.monotonic() - start - one
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: {paths[500]}: not an image")
    assert len(result.stderr.splitlines()) == 1
    lines = result.stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == [
        str(path) for path in paths if path != paths[500]
    ]
    assert lines[0] == first.stdout.strip()
    assert many - one < 10, "a thousand images take as long as a thousand calls"


@pytest.mark.slow
def test_closed_output_ends_the_command_without_an_error(tmp_path: Path, model: Path) -> None:
    path = save_image(tmp_path, Image.fromarray(DIGIT))
    command = f"{sys.executable} -m pipeline.predict --model {model} {f'{path} ' * 600} | head -1"
    result = subprocess.run(
        command, shell=True, cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert len(result.stdout.splitlines()) == 1
    assert result.stderr == ""


def test_help_lists_the_kinds_of_model_uris(tmp_path: Path) -> None:
    assert_help("predict", tmp_path, "FILE", "--model URI", "runs:/<id>/model", "git:<revision>")


def test_missing_files_are_a_usage_error(tmp_path: Path) -> None:
    assert_usage_error("predict", tmp_path, message="required: FILE")


@pytest.mark.slow  # imports TensorFlow
def test_missing_model_is_one_line(tmp_path: Path) -> None:
    arguments = ("a.png", "--model", "no/model.keras")
    assert_error("predict", tmp_path, *arguments, message="there is no model file no/model.keras")


@pytest.mark.slow  # imports MLflow
@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("", "the model URI is empty"),
        (".", ". is a folder"),
        ("git:", "git: names no revision"),
        ("models/model.keras", "there is no model file models/model.keras: run `make repro` first"),
    ],
)
def test_uri_that_names_no_model_is_one_line(tmp_path: Path, uri: str, message: str) -> None:
    assert_error("predict", tmp_path, "a.png", "--model", uri, message=message)
