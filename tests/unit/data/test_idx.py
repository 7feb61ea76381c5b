import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from pipeline.data import idx
from tests.helpers.samples import idx_files, mutations

ARRAYS = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=6))


INTEGERS = hnp.arrays(
    st.sampled_from([np.dtype(t) for t in ("u1", "i1", "<i2", ">i2", "<i4", ">i4")]),
    hnp.array_shapes(min_dims=1, max_dims=4, min_side=0),
)


@given(INTEGERS)
def test_round_trip_keeps_every_byte(array: NDArray[Any]) -> None:
    parsed = idx.parse(idx.dump(array))
    assert parsed.dtype == array.dtype.newbyteorder(">")
    np.testing.assert_array_equal(parsed, array)


def test_non_contiguous_array_is_stored_in_row_major_order() -> None:
    array = np.arange(12, dtype=np.uint8).reshape(3, 4).T
    np.testing.assert_array_equal(idx.parse(idx.dump(array)), array)


def test_known_file() -> None:
    content = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(idx.parse(content), [[1, 2, 3], [4, 5, 6]])
    assert idx.read_header(content) == (12, (2, 3))
    assert idx.dump(np.array([[1, 2, 3], [4, 5, 6]], np.uint8)) == content


def test_known_file_of_integers() -> None:
    content = bytes([0, 0, 12, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 1, 2, 255, 255, 255, 255])
    np.testing.assert_array_equal(idx.parse(content), [[258, -1]])
    assert idx.dump(np.array([[258, -1]], np.int32)) == content
    content = bytes([0, 0, 9, 1, 0, 0, 0, 1, 254])
    np.testing.assert_array_equal(idx.parse(content), [-2])
    content = bytes([0, 0, 11, 1, 0, 0, 0, 1, 1, 0])
    np.testing.assert_array_equal(idx.parse(content), [256])


@pytest.mark.parametrize(
    ("array", "rank"),
    [
        (np.zeros((2, 3, 3), np.uint8), 3),
        (np.zeros((0, 3, 3), np.uint8), 3),
        (np.zeros(5, np.uint8), 1),
        (np.zeros(5, np.int8), 1),
        (np.zeros(5, np.int16), 1),
        (np.zeros(5, np.int32), 1),
        (np.zeros((5, 1), np.uint8), 1),
        (np.zeros((5, 8), np.int32), 1),  # QMNIST
    ],
)
def test_declared_size_is_that_of_the_file(array: NDArray[Any], rank: int) -> None:
    content = idx.dump(array)
    idx.check_content(idx.parse(content).dtype, array.shape, rank)
    assert idx.file_size(content[:20], rank) == len(content)


@pytest.mark.parametrize(
    ("array", "rank", "message"),
    [
        (np.zeros(5, np.uint8), 3, "has 1 dimensions, not 3: it holds labels"),
        (np.zeros((5, 8), np.int32), 3, "has 2 dimensions, not 3: it holds labels"),
        (np.zeros((5, 9), np.uint8), 3, "has 2 dimensions, not 3$"),
        (np.zeros((5, 3, 3, 1), np.uint8), 3, "has 4 dimensions, not 3$"),
        (np.zeros((5, 3, 3), np.int32), 3, "element type is 0x0c; images must"),
        (np.zeros((5, 3, 3), np.uint8), 1, "has 3 dimensions, not 1: it holds images"),
        (np.zeros((5, 3, 3, 1), np.uint8), 1, "has 4 dimensions, not 1$"),
        # One column for each class is another format: its first column is not the label.
        (np.zeros((5, 10), np.uint8), 1, "2 dimensions, not 1: it holds 10 numbers for each"),
        (np.zeros((5, 8), np.uint8), 1, "2 dimensions, not 1: it holds 8 numbers for each"),
        (np.zeros((5, 10), np.int32), 1, "2 dimensions, not 1: it holds 10 numbers for each"),
    ],
)
def test_file_of_another_content_is_refused(array: NDArray[Any], rank: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        idx.file_size(idx.dump(array), rank)


@given(
    st.binary(max_size=64)
    | st.binary(max_size=64).map(lambda rest: b"\0\0\x08" + rest)
    | st.binary(max_size=64).map(lambda rest: b"\0\0\x0c\x01\0\0\0" + rest)
    | st.sampled_from(idx_files()).flatmap(mutations)
)
def test_arbitrary_bytes_give_an_array_or_a_value_error(content: bytes) -> None:
    try:
        array = idx.parse(content)
    except ValueError:
        return
    assert idx.dump(array) == content


@given(ARRAYS, st.data())
def test_cut_or_lengthened_file_is_refused(array: NDArray[np.uint8], data: st.DataObject) -> None:
    content = idx.dump(array)
    cut = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(ValueError, match="IDX"):
        idx.parse(content[:cut])
    with pytest.raises(ValueError, match="IDX"):
        idx.parse(content + b"\0")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes"),
        (b"<html></html>", "<htm"),
        (b"\x1f\x8b\x08\x00rest", "two zero bytes"),
        (bytes([0, 0, 0x0D, 1, 0, 0, 0, 1, 0, 0, 0, 0]), "0x0d"),
        (bytes([0, 0, 8, 0]), "no dimensions"),
        (bytes([0, 0, 8, 3, 0, 0, 0, 1]), "cut off"),
        (struct.pack(">HBB3I", 0, 8, 3, *[2**32 - 1] * 3), "has 16 bytes"),
        # The length is right, but NumPy has no arrays of these shapes.
        (struct.pack(">HBB65IB", 0, 8, 65, *[1] * 65, 7), "dimension"),
        (struct.pack(">HBB3I", 0, 8, 3, 0, *[2**32 - 1] * 2), "too big|dimension"),
    ],
)
def test_error_says_what_is_wrong(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        idx.parse(content)


@pytest.mark.parametrize("array", [np.zeros(3, np.int64), np.array(3, np.uint8)])
def test_array_that_is_not_uint8_or_has_no_dimension_is_refused(array: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="uint8 arrays"):
        idx.dump(array)
