"""The HTTP server: its addresses, its limits and its metrics."""

import base64
import io
import time
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import TypeVar

import anyio
import anyio.to_thread
import numpy as np
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi_offline import FastAPIOffline
from numpy.typing import NDArray
from PIL import Image
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from starlette.exceptions import HTTPException as StarletteHTTPException

from pipeline.artifacts.loading import Loaded
from pipeline.pictures.digit import NoDigitError, find_digit
from pipeline.pictures.files import read_picture
from pipeline.pictures.steps import draw_steps
from pipeline.serving.models import Models
from pipeline.serving.schema import (
    MOST_BYTES,
    Answer,
    Answers,
    Health,
    Model,
    Picture,
    Pixels,
    Refusal,
    Seen,
)
from pipeline.system.errors import UserError, one_line

_SECONDS = 20.0  # the longest time to answer a request, after its upload
_FILES: dict[str, dict[str, str]] = {
    f"image/{name}": {} for name in ("png", "jpeg", "webp", "heic", "avif")
}
_REFUSALS = {
    413: {"model": Refusal, "description": "The body is too large"},
    422: {"model": Refusal, "description": "The body shows no digit, or is not what it should be"},
    503: {"model": Refusal, "description": "The answer takes too long"},
}
T = TypeVar("T")
Next = Callable[[Request], Awaitable[Response]]


def create_app(models: Models) -> FastAPI:
    """Make the server of some models."""
    app = FastAPIOffline(
        title="Handwritten digits",
        description="Reads the digit in a picture. The first model answers.",
        version="1",
    )
    _add_limits(app)
    _add_answers(app, models)
    page = files("pipeline.serving").joinpath("page.html").read_text("utf-8")

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def draw() -> str:
        return page

    @app.get("/health")
    async def health() -> Health:
        """Whether the server answers, and with which models."""
        return Health(status="ok", models=[_model(loaded) for loaded in models.loaded])

    return app


def _add_answers(app: FastAPI, models: Models) -> None:
    body = {"requestBody": {"required": True, "content": _FILES}}

    @app.post("/predict", responses=_REFUSALS, openapi_extra=body)  # type: ignore[arg-type]
    async def predict(request: Request, steps: bool = False) -> Seen:
        """Read the digit in a picture file, which is the body of the request."""
        content = await request.body()
        return await _in_thread(_read, content, models.loaded[:], steps)

    @app.post("/predict/base64", responses=_REFUSALS)  # type: ignore[arg-type]
    async def predict_base64(given: Picture, steps: bool = False) -> Seen:
        """Read the digit in a picture file in base64."""
        try:
            content = base64.b64decode(given.picture.partition("base64,")[2] or given.picture)
        except ValueError as error:
            raise HTTPException(422, f"picture is not base64: {one_line(error)}") from None
        return await _in_thread(_read, content, models.loaded[:], steps)

    @app.post("/predict/pixels", responses=_REFUSALS)  # type: ignore[arg-type]
    async def predict_pixels(given: Pixels) -> Answers:
        """Answer images that have the form of the data set."""
        return await _in_thread(_answer_pixels, given, models.loaded[0])


def _add_limits(app: FastAPI) -> None:
    """Bound the size of bodies, count requests, and give every error one form."""
    registry = CollectorRegistry()
    requests = Counter("requests", "answered", ["path", "status"], registry=registry)
    seconds = Histogram("request_seconds", "time to answer", ["path"], registry=registry)

    @app.middleware("http")
    async def measure(request: Request, call_next: Next) -> Response:
        start = time.perf_counter()
        length = request.headers.get("content-length", "")
        if request.method == "POST" and not length.isdigit():
            response: Response = _refusal(411, "the request does not say how long its body is")
        elif length.isdigit() and int(length) > MOST_BYTES:
            response = _refusal(413, f"the body has more than {MOST_BYTES // 10**6} MB")
        else:
            response = await call_next(request)
        path = getattr(request.scope.get("route"), "path", "other")  # few labels, whatever comes
        requests.labels(path, response.status_code).inc()
        seconds.labels(path).observe(time.perf_counter() - start)
        return response

    @app.exception_handler(StarletteHTTPException)
    async def refuse(_: Request, error: StarletteHTTPException) -> Response:
        return _refusal(error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def refuse_values(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        return _refusal(422, f"{place}: {first['msg']}"[:300])

    @app.exception_handler(NoDigitError)
    async def refuse_picture(request: Request, error: NoDigitError) -> Response:
        return _refusal(422, str(error), error.steps)

    @app.exception_handler(UserError)
    async def refuse_file(_: Request, error: UserError) -> Response:
        return _refusal(422, str(error))

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")


def _refusal(status: int, reason: str, steps: str = "") -> JSONResponse:
    return JSONResponse({"reason": reason, "steps": steps}, status)


async def _in_thread(work: Callable[..., T], *arguments: object) -> T:
    """Work in a thread, for a limited time."""
    try:
        with anyio.fail_after(_SECONDS):
            return await anyio.to_thread.run_sync(work, *arguments, abandon_on_cancel=True)
    except TimeoutError:
        raise HTTPException(503, f"the answer takes more than {_SECONDS:.0f} s") from None


def _read(content: bytes, loaded: list[Loaded], steps: bool) -> Seen:
    """Find the digit in a file, and answer it with all models."""
    picture = read_picture(io.BytesIO(content))
    try:
        shapes = {model.predictor.shape for model in loaded}
        digits = {shape: find_digit(picture, *shape) for shape in shapes}
    except NoDigitError as error:
        if steps:
            error.steps = _png(draw_steps(picture, error.ink, (), str(error)))
        raise
    first = digits[loaded[0].predictor.shape]
    predictors = [model.predictor for model in loaded]
    answers = [each.answer(digits[each.shape].image[None])[0] for each in predictors]
    drawn = _png(draw_steps(picture, first, answers[0].tolist())) if steps else ""
    shown = _answer(answers[0]).model_dump()
    others = [_answer(row) for row in answers[1:]]
    return Seen(**shown, seen=_png(Image.fromarray(first.image)), steps=drawn, others=others)


def _answer_pixels(given: Pixels, loaded: Loaded) -> Answers:
    height, width = loaded.predictor.shape
    for image in given.pixels:
        if len(image) != height or any(len(row) != width for row in image):
            raise HTTPException(422, f"an image has not {height} rows of {width} pixels")
    rows = loaded.predictor.answer(np.array(given.pixels, np.uint8))
    return Answers(answers=[_answer(row) for row in rows])


def _answer(row: NDArray[np.float32]) -> Answer:
    values = [min(max(float(value), 0.0), 1.0) for value in row]
    best = int(row.argmax())
    return Answer(digit=best, probability=values[best], probabilities=values)


def _png(image: Image.Image) -> str:
    content = io.BytesIO()
    image.save(content, "PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"


def _model(loaded: Loaded) -> Model:
    height, width = loaded.predictor.shape
    return Model(
        name=loaded.uri,
        version=loaded.version,
        form=loaded.form,
        digest=loaded.digest,
        height=height,
        width=width,
    )
