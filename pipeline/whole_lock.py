"""Make DVC write dvc.lock whole or not at all; `make setup` lays this beside DVC.

DVC 3.67 writes it in place, for some 40 ms after each stage. Killed meanwhile it leaves an empty
file, which the next `dvc repro` refuses. Every program of .venv imports this at its start, so it
imports nothing itself but acts when DVC's module is imported.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder

TYPE_CHECKING = False  # typing itself takes milliseconds
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

_MODULE = "dvc.utils.serialize._common"


class _Finder:
    """Finds that one module, and changes it once it is loaded."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name == _MODULE else None
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_change(module: ModuleType) -> None:
            load(module)
            _change(module)

        spec.loader.exec_module = load_and_change  # type: ignore[method-assign]
        return spec


def _change(module: Any) -> None:
    dump = module._dump_data

    def dump_whole(path: str | os.PathLike[str], *arguments: Any, **options: Any) -> None:
        folder, name = os.path.split(os.fspath(path))
        part = os.path.join(folder, f".{name}.part")  # noqa: PTH118 - pathlib is not imported yet
        dump(part, *arguments, **options)
        os.replace(part, path)  # noqa: PTH105

    module._dump_data = dump_whole


sys.meta_path.insert(0, _Finder)
