"""The IDX format of MNIST, read strictly.

Format, as given with the original data set: two zero bytes, a byte for the element type (8:
unsigned byte), a byte for the number of dimensions, each dimension as a big-endian 32-bit number,
then the elements in row-major order, and nothing after them.
"""

import math
import struct

import numpy as np
from numpy.typing import NDArray

UNSIGNED_BYTE = 8


def header_size(start: bytes) -> tuple[int, tuple[int, ...]]:
    """Read the header at the beginning of `start`.

    Returns:
        The header's length in bytes, and the dimensions.

    Raises:
        ValueError: when it is not the header of an IDX file of unsigned bytes.
    """
    if len(start) < 4:
        raise ValueError(f"not an IDX file: {len(start)} bytes are fewer than a header has")
    zeros, element_type, rank = struct.unpack(">HBB", start[:4])
    if zeros != 0:
        raise ValueError(f"not an IDX file: it begins with {start[:4]!r}, not with two zero bytes")
    if element_type != UNSIGNED_BYTE:
        raise ValueError(f"IDX element type is {element_type:#04x}; only 0x08, bytes, is supported")
    if rank == 0:
        raise ValueError("IDX file with no dimensions")
    size = 4 + 4 * rank
    if len(start) < size:
        raise ValueError(f"IDX header of {rank} dimensions is cut off after {len(start)} bytes")
    return size, struct.unpack(f">{rank}I", start[4:size])


def parse(content: bytes) -> NDArray[np.uint8]:
    """Parse a whole IDX file.

    Returns:
        A read-only uint8 array with the dimensions in the header; it shares memory with `content`.

    Raises:
        ValueError: when the header is wrong, or the length is not exactly as declared there.
    """
    size, shape = header_size(content)
    expected = size + math.prod(shape)
    if len(content) != expected:
        dimensions = " × ".join(map(str, shape))
        raise ValueError(f"IDX file of {dimensions} has {len(content)} bytes, not {expected}")
    return np.frombuffer(content, np.uint8, offset=size).reshape(shape)


def dump(array: NDArray[np.uint8]) -> bytes:
    """The IDX file of a uint8 array with one dimension or more: `parse(dump(a))` equals `a`."""
    if array.dtype != np.uint8 or array.ndim == 0:
        raise ValueError(
            f"IDX files here hold uint8 arrays, not {array.dtype} of rank {array.ndim}"
        )
    header = struct.pack(f">HBB{array.ndim}I", 0, UNSIGNED_BYTE, array.ndim, *array.shape)
    return header + array.tobytes()
