import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from pipeline.data import idx
from tests.helpers.samples import idx_files, mutations

ARRAYS = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=6))


@given(ARRAYS)
def test_round_trip_keeps_every_byte(array: NDArray[np.uint8]) -> None:
    parsed = idx.parse(idx.dump(array))
    assert parsed.dtype == np.uint8
    np.testing.assert_array_equal(parsed, array, strict=True)


def test_non_contiguous_array_is_stored_in_row_major_order() -> None:
    array = np.arange(12, dtype=np.uint8).reshape(3, 4).T
    np.testing.assert_array_equal(idx.parse(idx.dump(array)), array)


def test_known_file() -> None:
    content = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(idx.parse(content), [[1, 2, 3], [4, 5, 6]])
    assert idx.header_size(content) == (12, (2, 3))
    assert idx.dump(np.array([[1, 2, 3], [4, 5, 6]], np.uint8)) == content


@given(
    st.binary(max_size=64)
    | st.binary(max_size=64).map(lambda rest: b"\0\0\x08" + rest)
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
