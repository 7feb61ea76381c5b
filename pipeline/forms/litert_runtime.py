"""Answer images with LiteRT, the runtime of phones. It starts in hundredths of a second."""

import threading
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from pipeline.forms.predictor import Images, Predictor, Probabilities, threads
from pipeline.forms.quiet import quiet_stderr
from pipeline.system.errors import UserError, one_line


def load_litert(path: Path) -> Predictor:
    """Load a LiteRT file.

    Raises:
        UserError: when the file cannot be read, or does not take raw pixels.
    """
    try:
        with quiet_stderr():  # a line of information
            interpreter = Interpreter(model_content=path.read_bytes(), num_threads=threads())
            interpreter.allocate_tensors()
        [given], [returned] = interpreter.get_input_details(), interpreter.get_output_details()
    except FileNotFoundError:
        raise UserError(f"there is no model file {path}") from None
    except Exception as error:  # the runtime has no class of errors of its own
        raise UserError(f"{path} is not a LiteRT model: {one_line(error)[:300]}") from None
    shape = given["shape_signature"].tolist()[1:]
    if given["dtype"] != np.uint8 or len(shape) != 2 or min(shape) < 1:
        raise UserError(f"{path} does not take images of uint8, shape (N, height, width)")
    lock = threading.Lock()  # an interpreter answers one call at a time

    def answer(images: Images) -> Probabilities:
        with lock:
            interpreter.resize_tensor_input(given["index"], images.shape)
            interpreter.allocate_tensors()
            interpreter.set_tensor(given["index"], images)
            interpreter.invoke()
            return np.asarray(interpreter.get_tensor(returned["index"]))

    return Predictor((shape[0], shape[1]), answer)
