"""Answer images with Keras, for a model of any URI."""

from typing import Any

import numpy as np

from pipeline.artifacts.keras_file import load_model
from pipeline.artifacts.uri import resolve_model
from pipeline.forms.predictor import Images, Predictor, Probabilities


def load_keras(uri: str) -> Predictor:
    """Load the model of a URI.

    Raises:
        UserError: when there is no such model, or its file may not be read.
    """
    with resolve_model(uri) as path:
        model: Any = load_model(path, uri)

    def answer(images: Images) -> Probabilities:
        return np.asarray(model.predict(images, batch_size=1000, verbose=0))

    height, width = model.inputs[0].shape[1:]
    return Predictor((height, width), answer)
