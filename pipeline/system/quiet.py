"""Hide two lines that TensorFlow prints when it is imported.

With oneDNN, its C++ code says that oneDNN is on, and that its log is not yet open. No setting
hides these lines (https://github.com/tensorflow/tensorflow/issues/100442).
"""

import importlib.abc
import importlib.machinery
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_HIDDEN = (b"oneDNN custom operations are on", b"before absl::InitializeLog() is called")


class _Finder(importlib.abc.MetaPathFinder):
    """Finds TensorFlow as Python does, and hides the lines while it is loaded."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "tensorflow":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec and spec.loader:
            load = spec.loader.exec_module

            def load_quietly(module: ModuleType) -> None:
                with _without_hidden_lines():
                    load(module)

            loader: Any = spec.loader
            loader.exec_module = load_quietly
        return spec


def hide_import_lines() -> None:
    """Hide the lines when TensorFlow is imported later in this process."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


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
