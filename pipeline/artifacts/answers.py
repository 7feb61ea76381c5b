"""What a saved model answers to images."""

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.keras_file import load_model
from pipeline.artifacts.uri import resolve_model
from pipeline.data.splits import parts
from pipeline.system.errors import UserError, one_line

Answers = NDArray[np.int64]


def answers_of(uri: str, images: NDArray[np.uint8]) -> Answers:
    """The classes that the model of a URI answers; see `answer`.

    Raises:
        UserError: when there is no such model, or it does not take these images.
    """
    with resolve_model(uri) as path:
        return answer(load_model(path, uri), images, uri)


def answer(model: keras.Model, images: NDArray[np.uint8], name: str) -> Answers:
    """The classes that a model answers, from 0, shape (N,).

    Args:
        model: takes images of shape (N, height, width), and returns class probabilities.
        images: the images, shape (N, height, width).
        name: the name of the model in errors.

    Raises:
        UserError: when the model does not take these images.
    """
    if model.input_shape[1:] != images.shape[1:]:
        wanted, given = ("×".join(map(str, s)) for s in (model.input_shape[1:], images.shape[1:]))
        raise UserError(f"{name} takes images of {wanted} pixels, not of {given}")
    try:
        probabilities = probabilities_of(model, images, batch_size=100)
    except Exception as error:  # a layer of the user can raise any error
        raise UserError(f"{name} cannot answer the images: {one_line(error)[-300:]}") from error
    return probabilities.argmax(1)


def probabilities_of(
    model: keras.Model, images: NDArray[np.uint8], batch_size: int = 1000
) -> NDArray[np.float32]:
    """The probabilities that a model answers, shape (N, classes).

    Keras copies all the images that it is given, so it is given a part of them at a time.

    Args:
        model: takes images of shape (N, height, width).
        images: the images, which may be mapped into memory.
        batch_size: images that are answered together.
    """
    answers: list[Any] = [
        model.predict(np.asarray(images[rows]), batch_size=batch_size, verbose=0)
        for rows in parts(len(images))
    ]
    return np.concatenate(answers)
