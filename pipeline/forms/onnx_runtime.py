"""Answer images with ONNX Runtime."""

from pathlib import Path

import numpy as np
from onnxruntime import InferenceSession, SessionOptions

from pipeline.forms.predictor import Images, Predictor, Probabilities, threads
from pipeline.system.errors import UserError, one_line


def load_onnx(path: Path) -> Predictor:
    """Load an ONNX file.

    Raises:
        UserError: when the file cannot be read, or does not take raw pixels.
    """
    options = SessionOptions()
    options.intra_op_num_threads = threads()
    options.log_severity_level = 4  # errors are raised
    if not path.is_file():
        raise UserError(f"there is no model file {path}")
    try:
        session = InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        [given] = session.get_inputs()
    except Exception as error:  # the runtime has many classes of errors
        raise UserError(f"{path} is not an ONNX model: {one_line(error)[:300]}") from None
    shape = [side for side in given.shape[1:] if isinstance(side, int)]
    if given.type != "tensor(uint8)" or len(shape) != 2:
        raise UserError(f"{path} does not take images of uint8, shape (N, height, width)")

    def answer(images: Images) -> Probabilities:
        [probabilities] = session.run(None, {given.name: images})
        return np.asarray(probabilities)

    return Predictor((shape[0], shape[1]), answer)
