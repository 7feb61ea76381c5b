"""What the server takes and gives, as its OpenAPI page shows it."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MOST_IMAGES = 1000  # of one request
MOST_BYTES = 12_000_000  # of the body of a request

# A whole number; JSON does not tell 7 from 7.0.
Pixel = Annotated[float, Field(ge=0, le=255, multiple_of=1, strict=True, allow_inf_nan=False)]
Row = Annotated[list[Pixel], Field(min_length=1, max_length=256)]
Image = Annotated[list[Row], Field(min_length=1, max_length=256)]


class Pixels(BaseModel):
    """Images in the form of the data set: whole numbers from 0 to 255, light on dark."""

    model_config = ConfigDict(extra="forbid")

    pixels: Annotated[list[Image], Field(min_length=1, max_length=MOST_IMAGES)]


class Picture(BaseModel):
    """The content of a picture file in base64."""

    model_config = ConfigDict(extra="forbid")

    picture: Annotated[str, Field(min_length=1, max_length=MOST_BYTES)]


class Answer(BaseModel):
    """What a model answers to an image."""

    digit: Annotated[int, Field(ge=0, description="the class with the highest probability")]
    probability: Annotated[float, Field(ge=0, le=1)]
    probabilities: Annotated[list[float], Field(description="of each class")]


class Seen(Answer):
    """What a model answers to a picture, and what it saw."""

    seen: Annotated[str, Field(description="the image that the model saw, as a data: URI of a PNG")]
    steps: Annotated[str, Field(description="how the digit was found, as a data: URI; or empty")]
    others: Annotated[list[Answer], Field(description="the answers of the models beside it")]


class Answers(BaseModel):
    """An answer for each image."""

    answers: list[Answer]


class Model(BaseModel):
    """A model that answers."""

    name: Annotated[str, Field(description="its URI")]
    version: Annotated[str, Field(description="of the registered model; or empty")]
    form: Annotated[str, Field(description="litert, onnx or keras")]
    digest: Annotated[str, Field(description="SHA-256 of the file; or empty")]
    height: int
    width: int


class Health(BaseModel):
    """That the server answers, and with which models."""

    status: str
    models: list[Model]


class Refusal(BaseModel):
    """Why a request was not answered."""

    reason: str
    steps: Annotated[str, Field(description="what was seen instead of a digit; or empty")] = ""
