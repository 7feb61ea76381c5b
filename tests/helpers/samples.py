"""Valid files that the pipeline reads, and how the fuzz tests change them."""

from io import BytesIO
from typing import Any

import numpy as np
import yaml
from hypothesis import strategies as st
from PIL import Image

from pipeline.config.composition import compose
from pipeline.data import idx
from tests.helpers.shipped import PARAMS

FORMATS = ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"]


def idx_files() -> list[bytes]:
    shapes = [(1,), (3,), (2, 3), (2, 4, 4), (0, 28, 28), (1, 1, 1, 1)]
    bytes_ = [idx.dump(np.arange(np.prod(s), dtype=np.uint8).reshape(s)) for s in shapes]
    return bytes_ + [idx.dump(np.arange(8, dtype=t).reshape(1, 8)) for t in (">i1", ">i2", ">i4")]


def image_files() -> list[bytes]:
    """A small image in each format and in each mode that the format takes."""
    grey = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4)
    files = []
    for format_ in FORMATS:
        for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"):
            file = BytesIO()
            try:
                grey.convert(mode).save(file, format_)
            except (OSError, ValueError):
                continue  # the format has no such mode
            files.append(file.getvalue())
    return files


def composed() -> dict[str, Any]:
    """The values of a valid composed.yaml."""
    return compose().model_dump()


# YAML that is valid but not a plain configuration.
YAML = [
    "a: !!int 0x1f\nb: !!float 1:30.5\nc: 2024-01-31\nd: 2001-12-14t21:59:43.10-05:00",
    "a: !!bool yes\nb: !!null ~\nc: !!str 1\nd: !!binary R0lG\ne: .inf\nf: .nan",
    "a: &a {b: 1}\nc: {<<: *a}\nd: {<<: [*a, *a]}\ne: *a",
    "a: &a [1, *a]\n? {b: 1}\n: 2",
    "a: !!set {b, c}\nd: !!omap [e: 1]\nf: !!pairs [g: 1]",
    "!!python/object/apply:os.getcwd []",
    "a: |\n b\nc: >-\n d\ne: \"\\ud800\\x41\"\nf: 'g'",
    "%YAML 1.1\n---\nmodel: {_target_: [a]}\n...\n",
    "schedule: {_target_: {a: 1}}\n1: 2\n+train.epochs: 3\nnull: 4",
]


def config_files() -> list[bytes]:
    return [yaml.safe_dump(composed()).encode(), PARAMS.encode(), *map(str.encode, YAML)]


def mutations(content: bytes) -> st.SearchStrategy[bytes]:
    """`content` with up to four pieces of it replaced, removed or cut off."""
    edit = st.tuples(
        st.integers(0, len(content)),
        st.integers(0, 8) | st.just(len(content)),
        st.binary(max_size=8),
    )

    def apply(edits: list[tuple[int, int, bytes]]) -> bytes:
        changed = content
        for start, length, new in edits:
            changed = changed[:start] + new + changed[start + length :]
        return changed

    return st.lists(edit, min_size=1, max_size=4).map(apply)
