"""Load what answers a model URI, and import only what this needs."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.model_path import RECORDED, model_path, names_file
from pipeline.forms.predictor import Predictor, light_form
from pipeline.system.files import sha256


@dataclass(frozen=True)
class Loaded:
    """A model that is ready to answer.

    Attributes:
        predictor: answers images.
        uri: the URI from which it was loaded.
        form: the form that answers: `litert`, `onnx` or `keras`.
        version: the number of its registered version; "" if it has none.
        digest: SHA-256 of the file of the form; "" for `keras`.
    """

    predictor: Predictor
    uri: str
    form: str
    version: str = ""
    digest: str = ""


def load_main(uri: str) -> Loaded:
    """Load the model of a URI: LiteRT if it has that form, else ONNX Runtime, else Keras.

    LiteRT is imported in a hundredth of a second, MLflow and Keras in seconds.

    Raises:
        UserError: when there is no such model, or it cannot be read.
    """
    if form := light_form(uri):
        return form_main(form, uri)
    if names_file(uri):
        model_path(uri)  # fails before the imports
    version = ""
    if uri.startswith(RECORDED):
        from pipeline.artifacts.recorded import recorded_form, version_of

        version = version_of(uri)
        with recorded_form(uri) as recorded:
            if recorded:
                return form_main(recorded, uri, version)
    from pipeline.artifacts.keras_predictor import load_keras

    return Loaded(load_keras(uri), uri, "keras", version)


def form_main(path: Path, uri: str, version: str = "") -> Loaded:
    """Load a LiteRT or ONNX file."""
    if path.suffix == ".onnx":
        from pipeline.forms.onnx_runtime import load_onnx

        predictor, form = load_onnx(path), "onnx"
    else:
        from pipeline.forms.litert_runtime import load_litert

        predictor, form = load_litert(path), "litert"
    return Loaded(predictor, uri, form, version, sha256(path))
