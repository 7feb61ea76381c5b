"""The versions of the libraries that can change a stage's output.

Each stage tracks its own line of them in composed.yaml, so that an upgrade reruns what it can
change. Other libraries change no output. The processor may change the last bits of a result, but
is left out, so that another machine does not rerun everything.
"""

from functools import cache
from importlib.metadata import PackageNotFoundError, version

_TENSORFLOW = ("tensorflow-cpu", "tensorflow")  # the same library for different machines
_PREPARE = ("numpy",)
_TRAIN = ("h5py", "keras", "numpy", "tensorflow")  # h5py writes the weights
# They draw, compute the interval, and write and run the other forms of the model.
_FORMS = ("ai-edge-litert", "onnx", "onnxruntime", "tf2onnx")
_REPORT = ("jinja2", "matplotlib", "opencv-python-headless", "pillow", "scipy")
_EVALUATE = (*_TRAIN, *_FORMS, *_REPORT)


@cache  # a sweep composes hundreds of times, and each look reads a file of the package
def library_versions() -> dict[str, str]:
    """The versions by stage, such as `{"prepare": "numpy 2.4.0", ...}`."""
    stages = {"prepare": _PREPARE, "train": _TRAIN, "evaluate": _EVALUATE}
    return {
        stage: ", ".join(f"{name} {_version(name)}" for name in sorted(names))
        for stage, names in stages.items()
    }


def tensorflow_requirement() -> str:
    """The installed TensorFlow as a pip requirement, for `tensorflow-cpu` or `tensorflow`."""
    for name in _TENSORFLOW:
        try:
            return f"{name}=={version(name)}"
        except PackageNotFoundError:
            continue
    raise PackageNotFoundError("tensorflow")


def _version(name: str) -> str:
    if name == "tensorflow":
        return tensorflow_requirement().partition("==")[2]
    return version(name)
