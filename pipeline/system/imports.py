"""Import TensorFlow without two lines that it prints, and Keras without two optional libraries.

With oneDNN, TensorFlow's C++ code says that oneDNN is on, and that its log is not yet open. No
setting hides these lines (https://github.com/tensorflow/tensorflow/issues/100442).

Keras imports scikit-learn for its wrappers, and Matplotlib for its galleries of pictures, if they
are installed. This pipeline uses neither of them through Keras. Without them, the import of Keras
needs two thirds of the processor time, in `train`, in `evaluate` and in each worker of a sweep.
"""

import importlib.abc
import importlib.machinery
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import ModuleType
from typing import Any

_HIDDEN = (b"oneDNN custom operations are on", b"before absl::InitializeLog() is called")
_OPTIONAL = ("sklearn", "matplotlib")  # Keras works without them


class _LoadWithin(importlib.abc.MetaPathFinder):
    """Finds a package as Python does, and loads it within a context."""

    def __init__(self, name: str, context: Callable[[], AbstractContextManager[None]]) -> None:
        self.name = name
        self.context = context

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self.name:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec and spec.loader:
            load = spec.loader.exec_module

            def load_within(module: ModuleType) -> None:
                with self.context():
                    load(module)

            loader: Any = spec.loader
            loader.exec_module = load_within
        return spec


class _WithoutOptional(importlib.abc.MetaPathFinder):
    """Makes the optional libraries missing for the thread that imports Keras, not for others."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        if name in _OPTIONAL and threading.get_ident() == self.thread:
            raise ModuleNotFoundError(f"{name} is not imported with Keras", name=name)


def adjust_imports() -> None:
    """Change how TensorFlow and Keras are imported later in this process."""
    if not any(isinstance(finder, _LoadWithin) for finder in sys.meta_path):
        sys.meta_path.insert(0, _LoadWithin("tensorflow", _without_hidden_lines))
        sys.meta_path.insert(0, _LoadWithin("keras", _without_optional_libraries))


@contextmanager
def _without_optional_libraries() -> Iterator[None]:
    finder = _WithoutOptional()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


@contextmanager
def _without_hidden_lines() -> Iterator[None]:
    """Collect what is written to the standard error, also by C++ code, and write the rest of it."""
    with tempfile.TemporaryFile() as collected:
        error = os.dup(2)
        os.dup2(collected.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(error, 2)
            collected.seek(0)
            kept = [line for line in collected if not any(text in line for text in _HIDDEN)]
            os.write(error, b"".join(kept))
            os.close(error)
