import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.artifacts.keras_file import load_model, save_model
from pipeline.forms.export import export_forms
from pipeline.models import mlp
from tests.helpers import memory
from tests.helpers.commands import assert_error, assert_help, assert_usage_error
from tests.helpers.pictures import DIGIT, save_image, write_digit
from tests.helpers.privileges import drop_privileges
from tests.helpers.project import REPOSITORY


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file that classifies 8 × 8 images into three classes."""
    path = tmp_path_factory.mktemp("model") / "model.keras"
    save_model(mlp((8, 8), 3, depth=1, width=5), path)
    return path


def predict(
    model: Path, *paths: Path | bytes | str, before: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline.predict", "--model", model, *paths]
    return subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, check=False, preexec_fn=before
    )


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
    first = predict(model, "--as-is", paths[0])
    one = time.monotonic() - start
    result = predict(model, "--as-is", *paths)
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


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a digit, a blank sheet, and a file that is not a picture."""
    folder = tmp_path_factory.mktemp("digits")
    write_digit(folder / "seven, a.png", 7)
    Image.new("L", (90, 60), "white").save(folder / "blank.png")
    (folder / "text.png").write_bytes(b"not an image")
    return folder


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file for digits, with its other forms in a folder next to its own."""
    path = tmp_path_factory.mktemp("project") / "models/model.keras"
    save_model(mlp((28, 28), 10, depth=1, width=5), path)
    images = np.zeros((10, 28, 28), np.uint8)
    export_forms(load_model(path), path, images, path.parents[1] / "exports")
    return path


@pytest.mark.slow
def test_what_may_not_be_read_is_refused_and_the_rest_is_answered(
    tmp_path: Path, forms: Path
) -> None:
    """A folder without permission, one whose files may only be listed, and a file in the first."""
    folders = {"closed": 0o000, "listed": 0o400, "open": 0o700}
    for name in folders:
        (tmp_path / name / "deep").mkdir(parents=True)
        write_digit(tmp_path / name / "deep/7.png", 7)
        write_digit(tmp_path / name / "7.png", 7)
    for name, mode in folders.items():
        (tmp_path / name).chmod(mode)
    inside = tmp_path / "closed/deep"
    result = predict(forms, inside, tmp_path, before=drop_privileges)
    for name in folders:
        (tmp_path / name).chmod(0o700)
    assert result.returncode == 1
    answered = [line.split("\t")[0] for line in result.stdout.splitlines()]
    assert answered == [f"{tmp_path}/open/7.png", f"{tmp_path}/open/deep/7.png"]
    refused = [line.split(": ")[1:] for line in result.stderr.splitlines()]
    assert [names[0] for names in refused] == [
        str(inside),
        *(f"{tmp_path}/{name}" for name in ("closed", "listed/7.png", "listed/deep")),
    ]
    assert {parts[-1] for parts in refused} == {"Permission denied"}


@pytest.mark.slow
def test_csv_has_a_row_for_each_file(digits: Path, forms: Path) -> None:
    result = predict(forms, digits, "--format", "csv")
    assert result.returncode == 1
    assert result.stderr == ""
    rows = list(csv.DictReader(result.stdout.splitlines()))
    assert [Path(row["file"]).name for row in rows] == ["blank.png", "seven, a.png", "text.png"]
    assert rows[0]["reason"] == f"{digits}/blank.png: no digit is seen"
    assert (rows[0]["digit"], rows[1]["reason"]) == ("", "")
    assert 0.1 <= float(rows[1]["probability"]) <= 1


@pytest.mark.slow
def test_json_has_all_probabilities(digits: Path, forms: Path) -> None:
    blank, seven, text = json.loads(predict(forms, digits, "--format", "json").stdout)
    assert set(blank) == set(text) == {"file", "reason"}
    assert len(seven["probabilities"]) == 10
    assert seven["probabilities"][seven["digit"]] == seven["probability"]
    assert sum(seven["probabilities"]) == pytest.approx(1, abs=1e-4)
    nothing = digits / "folder without pictures"
    nothing.mkdir(exist_ok=True)
    assert json.loads(predict(forms, nothing, "--format", "json").stdout) == []


@pytest.mark.slow
def test_every_form_gives_the_same_line(digits: Path, forms: Path) -> None:
    exports = forms.parents[1] / "exports"
    lines = [
        predict(form, digits / "seven, a.png").stdout
        for form in (forms, exports / "model.tflite", exports / "model.onnx")
    ]
    away = exports.rename(exports.with_name("away"))
    lines.append(predict(forms, digits / "seven, a.png").stdout)  # with Keras
    away.rename(exports)
    assert len(lines[0].splitlines()) == 1
    assert lines == [lines[0]] * 4


@pytest.mark.slow
def test_steps_of_each_picture_are_drawn(digits: Path, forms: Path, tmp_path: Path) -> None:
    predict(forms, digits, "--explain", tmp_path / "steps")
    names = sorted(path.name for path in (tmp_path / "steps").iterdir())
    assert names == ["blank.png", "seven, a.png"]


IMPORTED = """
import sys
from pipeline.predict import main
sys.argv = ["predict", *sys.argv[1:]]
main()
print(*(name for name in ("tensorflow", "keras", "mlflow", "dvc") if name in sys.modules))
"""


@pytest.mark.slow
def test_recorded_form_needs_no_heavy_library(digits: Path, forms: Path) -> None:
    picture = str(digits / "seven, a.png")
    command = [sys.executable, "-c", IMPORTED, picture, "--model", str(forms)]
    shown = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert shown.stderr == ""
    assert shown.stdout.splitlines()[1] == ""


MANY = """
import sys
from pathlib import Path
from pipeline.predict import main
from tests.helpers.memory import peak

model, *arguments = sys.argv[1:]
peaks = []
for count in (300, 3000):
    sys.argv = ["predict", *arguments * count, "--model", model]
    main()
    peaks.append(peak())
print(*peaks)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_files(digits: Path, forms: Path) -> None:
    *_, last = memory.run(MANY, str(forms), str(digits / "seven, a.png"), folder=REPOSITORY)
    few, many = map(int, last.split())
    assert many - few < 20, "megabytes"


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


@pytest.mark.slow
def test_missing_model_is_one_line_and_needs_no_heavy_library(tmp_path: Path) -> None:
    arguments = ("a.png", "--model", "no/model.keras")
    assert_error("predict", tmp_path, *arguments, message="there is no model file no/model.keras")
    code = IMPORTED.replace("main()\n", "try: main()\nexcept Exception as error: print(error)\n")
    command = [sys.executable, "-c", code, *arguments]
    shown = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines() == ["there is no model file no/model.keras", ""]


@pytest.mark.slow  # `git:` imports MLflow
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
