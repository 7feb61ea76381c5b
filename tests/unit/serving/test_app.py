"""The server's addresses, asked as a client would, and with whatever its OpenAPI page allows."""

import base64
import errno
import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from PIL import Image
from schemathesis.specs.openapi.checks import positive_data_acceptance

from pipeline.artifacts.keras_file import load_model, save_model
from pipeline.artifacts.loading import Loaded, load_main
from pipeline.forms.export import export_forms
from pipeline.models import mlp
from pipeline.serving.app import create_app
from pipeline.serving.models import Models
from pipeline.system.errors import UserError
from tests.helpers.pictures import write_digit

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file for digits, with its other forms."""
    path = tmp_path_factory.mktemp("project") / "models/model.keras"
    save_model(mlp((28, 28), 10, depth=1, width=5), path)
    images = np.zeros((10, 28, 28), np.uint8)
    export_forms(load_model(path), path, images, path.parents[1] / "exports")
    return path


@pytest.fixture(scope="module")
def models(model: Path) -> Models:
    return Models([str(model), str(model.parents[1] / "exports/model.onnx")], load_main)


@pytest.fixture(scope="module")
def client(models: Models) -> Iterator[TestClient]:
    with TestClient(create_app(models), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def seven(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("picture") / "seven.png"
    write_digit(path, 7)
    return path.read_bytes()


def blank() -> bytes:
    content = io.BytesIO()
    Image.new("L", (200, 100), "white").save(content, "PNG")
    return content.getvalue()


def test_picture_is_answered_by_all_models(client: TestClient, seven: bytes) -> None:
    given = client.post("/predict", content=seven).json()
    assert given["probabilities"][given["digit"]] == given["probability"]
    assert len(given["probabilities"]) == 10
    assert given["others"][0]["digit"] == given["digit"], "the same model in another form"
    seen = Image.open(io.BytesIO(base64.b64decode(given["seen"].partition(",")[2])))
    assert seen.size == (28, 28)
    assert given["steps"] == ""
    assert client.post("/predict?steps=true", content=seven).json()["steps"].startswith("data:")
    text = base64.b64encode(seven).decode()
    for picture in (text, f"data:image/png;base64,{text}"):
        assert client.post("/predict/base64", json={"picture": picture}).json() == given
    pixels = np.asarray(Image.open(io.BytesIO(seven))).tolist()
    [answer] = client.post("/predict/pixels", json={"pixels": [pixels]}).json()["answers"]
    assert answer["probabilities"] == pytest.approx(given["probabilities"], abs=1e-6)


def test_picture_without_a_digit_is_refused_with_a_reason(client: TestClient) -> None:
    answer = client.post("/predict?steps=true", content=blank())
    assert answer.status_code == 422
    assert answer.json()["reason"] == "no digit is seen"
    assert answer.json()["steps"].startswith("data:image/png")


@pytest.mark.parametrize("value", [0.5, -1, 256, "1", None, True])
def test_pixels_that_are_not_whole_numbers_up_to_255_are_refused(
    client: TestClient, value: object
) -> None:
    answer = client.post("/predict/pixels", json={"pixels": [[[value] * 28] * 28]})
    assert answer.status_code == 422
    assert answer.json()["reason"].startswith("body.pixels.0.0.0: Input should be")


@pytest.mark.parametrize(
    ("path", "content", "status", "reason"),
    [
        ("/predict", b"", 422, "not an image"),
        ("/predict", b"GIF89a" + bytes(100), 422, "not an image"),
        ("/predict", bytes(12_000_001), 413, "more than 12 MB"),
        ("/predict/base64", b'{"picture": "abcde"}', 422, "picture is not base64"),
        ("/predict/base64", '{"picture": "\x80"}'.encode(), 422, "picture is not base64"),
        ("/predict/base64", b"no JSON", 422, "body.0: JSON decode error"),
        ("/predict/pixels", b'{"pixels": [[[1]]]}', 422, "28 rows of 28 pixels"),
        ("/predict/pixels", b'{"pixels": []}', 422, "at least 1 item"),
        ("/nothing", b"", 404, "Not Found"),
    ],
)
def test_other_bodies_are_refused_in_one_form(
    client: TestClient, path: str, content: bytes, status: int, reason: str
) -> None:
    form = "image/png" if path == "/predict" else "application/json"
    answer = client.post(path, content=content, headers={"content-type": form})
    assert answer.status_code == status
    assert set(answer.json()) == {"reason", "steps"}
    assert reason in answer.json()["reason"]


def test_body_of_unknown_length_is_refused(client: TestClient) -> None:
    answer = client.post("/predict", content=iter([b"a", b"b"]))
    assert answer.status_code == 411


def test_health_names_the_models(client: TestClient, model: Path) -> None:
    health = client.get("/health").json()
    assert health["status"] == "ok"
    assert [entry["form"] for entry in health["models"]] == ["litert", "onnx"]
    assert health["models"][0]["name"] == str(model)
    assert len(health["models"][0]["digest"]) == 64


def test_requests_are_counted(client: TestClient, seven: bytes) -> None:
    def count() -> float:
        lines = client.get("/metrics").text.splitlines()
        wanted = 'requests_total{path="/predict",status="200"} '
        return sum(float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted))

    before = count()
    client.post("/predict", content=seven)
    assert count() == before + 1


def test_pages_need_no_other_server(client: TestClient) -> None:
    for path in ("/", "/docs"):
        page = client.get(path).text
        assert "http://" not in page.replace("http://www.w3.org", "")
        assert "https://" not in page


def test_new_version_answers_without_a_lost_request(model: Path, seven: bytes) -> None:
    version, loads = ["1"], []

    def load(uri: str) -> Loaded:
        loads.append(uri)
        if version[0] == "broken":
            raise UserError("no such file")
        return load_main(str(model))

    served = Models(["models:/any@champion"], load)
    served.refresh(lambda _: version[0])
    stop = threading.Event()
    with TestClient(create_app(served)) as client, ThreadPoolExecutor(3) as pool:

        def ask() -> set[int]:
            statuses = set()
            while not stop.is_set():
                statuses.add(client.post("/predict", content=seven).status_code)
            return statuses

        asked = [pool.submit(ask) for _ in range(2)]
        for now in ("2", "3", "broken", "4"):
            version[0] = now
            served.refresh(lambda _: version[0])
            shown = client.get("/health").json()["models"][0]["version"]
            assert shown == ("3" if now == "broken" else now)
        stop.set()
        assert [future.result() for future in asked] == [{200}, {200}]
    assert len(loads) == 6


def test_versions_are_looked_up_again_after_a_full_disk(model: Path) -> None:
    looks: list[str] = []
    second = threading.Event()

    def version_of(uri: str) -> str:
        looks.append(uri)
        if len(looks) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        second.set()
        return ""

    served = Models([str(model)], load_main)
    served.follow(version_of, 0.01)
    assert second.wait(10)
    served.stop()


@pytest.mark.parametrize("path", ["/predict", "/predict/base64", "/predict/pixels", "/health"])
def test_server_keeps_its_own_description(models: Models, path: str) -> None:
    schema = schemathesis.openapi.from_asgi("/openapi.json", create_app(models))
    operation = schema[path]["GET" if path == "/health" else "POST"]

    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def ask(case: schemathesis.Case[Any]) -> None:
        # No schema says which text is a picture, or how many pixels the model takes.
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    ask()
