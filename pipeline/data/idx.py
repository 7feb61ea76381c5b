"""The IDX format of MNIST, read strictly.

Format, as given with the original data set: two zero bytes, a byte for the element type, a byte for
the number of dimensions, each dimension as a big-endian 32-bit number, then the elements in
row-major order, big-endian, and nothing after them.
"""

import math
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Images are unsigned bytes. Labels may be any of these.
ELEMENT_TYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(np.uint8),
    0x09: np.dtype(np.int8),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
}
_LONGEST_HEADER = 4 + 4 * 255  # bytes
_QMNIST_COLUMNS = 8  # the class, and seven more numbers that say who wrote the digit


def read_header(start: bytes) -> tuple[int, tuple[int, ...]]:
    """Read the header at the beginning of `start`.

    Returns:
        The header's length in bytes, and the dimensions.

    Raises:
        ValueError: when it is not the header of an IDX file of integers.
    """
    if len(start) < 4:
        raise ValueError(f"not an IDX file: {len(start)} bytes are fewer than a header has")
    zeros, element, rank = struct.unpack(">HBB", start[:4])
    if zeros != 0:
        raise ValueError(f"not an IDX file: it begins with {start[:4]!r}, not with two zero bytes")
    if element not in ELEMENT_TYPES:
        known = ", ".join(f"{number:#04x}" for number in ELEMENT_TYPES)
        raise ValueError(f"IDX element type is {element:#04x}; only {known}, integers, can be read")
    if rank == 0:
        raise ValueError("IDX file with no dimensions")
    size = 4 + 4 * rank
    if len(start) < size:
        raise ValueError(f"IDX header of {rank} dimensions is cut off after {len(start)} bytes")
    return size, struct.unpack(f">{rank}I", start[4:size])


def file_size(start: bytes, rank: int) -> int:
    """The length in bytes that the header of a file of images or labels declares.

    Args:
        start: the beginning of the file.
        rank: 3 for images, 1 for labels.

    Raises:
        ValueError: when it is not the header of such a file.
    """
    size, shape = read_header(start)
    element = ELEMENT_TYPES[start[2]]
    check_content(element, shape, rank)
    return size + math.prod(shape) * element.itemsize


def check_content(element: np.dtype[Any], shape: tuple[int, ...], rank: int) -> None:
    """Check that a file of this element type and these dimensions can hold images or labels.

    Images are unsigned bytes of shape (N, height, width). Labels are integers of shape (N,) or
    (N, 1), or QMNIST's 32-bit integers of shape (N, 8), whose first column is the class.

    Args:
        element: the element type.
        shape: the dimensions.
        rank: 3 for images, 1 for labels.

    Raises:
        ValueError: when it cannot.
    """
    wrong = f"has {len(shape)} dimensions, not {rank}"
    if rank == 3:
        if len(shape) == 1 or _is_qmnist(element, shape):
            raise ValueError(f"{wrong}: it holds labels, not images")
        if len(shape) != 3:
            raise ValueError(wrong)
        if element != np.uint8:
            number = next(n for n, known in ELEMENT_TYPES.items() if known == element)
            raise ValueError(f"IDX element type is {number:#04x}; images must have 0x08, bytes")
    elif len(shape) == 3:
        raise ValueError(f"{wrong}: it holds images, not labels")
    elif len(shape) == 2 and shape[1] != 1 and not _is_qmnist(element, shape):
        raise ValueError(f"{wrong}: it holds {shape[1]} numbers for each label, not one")
    elif len(shape) > 3:
        raise ValueError(wrong)


def _is_qmnist(element: np.dtype[Any], shape: tuple[int, ...]) -> bool:
    return element.itemsize == 4 and len(shape) == 2 and shape[1] == _QMNIST_COLUMNS


def parse(content: bytes | memoryview) -> NDArray[Any]:
    """Parse a whole IDX file.

    Returns:
        A read-only array of uint8, int8, or big-endian int16 or int32, with the dimensions in the
        header; it shares memory with `content`.

    Raises:
        ValueError: when the header is wrong, or the length is not exactly as declared there.
    """
    size, shape = read_header(bytes(content[:_LONGEST_HEADER]))
    element = ELEMENT_TYPES[content[2]]
    expected = size + math.prod(shape) * element.itemsize
    if len(content) != expected:
        dimensions = " × ".join(map(str, shape))
        raise ValueError(f"IDX file of {dimensions} has {len(content)} bytes, not {expected}")
    return np.frombuffer(content, element, offset=size).reshape(shape)


def dump(array: NDArray[Any]) -> bytes:
    """The IDX file of an array with one dimension or more: `parse(dump(a))` equals `a`.

    Raises:
        ValueError: when the array is not of uint8, int8, int16 or int32.
    """
    element = array.dtype.newbyteorder(">")
    number = next((n for n, known in ELEMENT_TYPES.items() if known == element), None)
    if number is None or array.ndim == 0:
        raise ValueError(
            "IDX files here hold uint8 arrays, or labels as int8, int16 or int32, "
            f"not {array.dtype} of rank {array.ndim}"
        )
    header = struct.pack(f">HBB{array.ndim}I", 0, number, array.ndim, *array.shape)
    return header + array.astype(element).tobytes()
