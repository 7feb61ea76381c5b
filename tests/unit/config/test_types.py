from typing import Annotated, Any

import pytest
from pydantic import TypeAdapter, ValidationError

from pipeline.config import types

INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("type_", "valid", "invalid"),
    [
        (types.Fraction, [0.0, 0.999], [-0.1, 1.0, NAN]),
        (types.Share, [0.0, 1.0], [-0.1, 1.1, NAN]),
        (types.NotNegative, [0.0, 3e38], [-1e-300, 1e39, INF, NAN]),
        (types.Positive, [1e-300, 3e38], [0.0, -1.0, 1e39, INF, NAN]),
        (types.Seconds, [0.1, 86_400], [0.0, 86_401, INF, NAN]),
        (types.Steps, [0.0, 1_000.0], [-0.1, 1_001, INF, NAN]),
        (types.Count, [1, 10**6], [0, -1, 10**18]),
        (types.Epochs, [1, 100_000], [0, 10**18]),
        (types.Bins, [1, 10_000], [0, 10**18]),
        (types.Threads, [1, 1_024], [0, 10**18]),
        (types.Bytes, [1, 2**40], [0, 10**18]),
        (types.Units, [1, 65_536], [0, 65_537]),
        (types.Pixels, [1, 1_024], [0, 1_025]),
        (types.Width, [0, 65_536], [-1, 65_537]),
        (types.Seed, [0, 2**32 - 1], [-1, 2**32]),
        (types.Slug, ["a", "0-a_b"], ["", "-a", "A", "a b", "a/b", "a.", "a" * 101]),
        (
            types.Text,
            ["×", "日本", "a b", "$", "👩\u200d🔬", "x" * 250],
            ["", " ", "\u200b", "\u0301", "a\nb", "a\0", "\x85a", "a\u2028b", "\ud800a", "x" * 251],
        ),
        (types.Instantiated, [{}, {"_target_": "a.b"}], ["a.b", None, []]),
    ],
)
def test_range_of_a_type(type_: Any, valid: list[Any], invalid: list[Any]) -> None:
    adapter = TypeAdapter(type_)
    for value in valid:
        assert adapter.validate_python(value, strict=True) == value
    for value in invalid:
        with pytest.raises(ValidationError):
            adapter.validate_python(value, strict=True)


class Example(types.Section):
    count: types.Count
    rate: types.Positive = 0.5


@pytest.mark.parametrize("count", ["3", 3.0, True, None])
def test_section_converts_no_value(count: Any) -> None:
    with pytest.raises(ValidationError, match=r"count\s+Input should be a valid integer"):
        Example.model_validate({"count": count})


def test_section_takes_a_whole_number_for_a_float() -> None:
    assert Example.model_validate({"count": 3, "rate": 1}).rate == 1.0


def test_section_refuses_an_unknown_key() -> None:
    with pytest.raises(ValidationError, match=r"rates\s+Extra inputs"):
        Example.model_validate({"count": 3, "rates": 0.1})


def test_section_cannot_be_changed() -> None:
    section = Example(count=3)
    with pytest.raises(ValidationError, match="frozen"):
        section.count = 4
    assert section.count == 3


class Lists(types.Section):
    depth: types.Width
    width: Annotated[types.Width, types.not_zero_with("depth")]
    sizes: list[int]
    strides: Annotated[list[int], types.same_length_as("sizes")]


def test_list_has_as_many_values_as_another() -> None:
    values = {"depth": 0, "width": 0, "sizes": [1, 2]}
    assert Lists.model_validate({**values, "strides": [3, 4]}).strides == [3, 4]
    for strides in ([], [3], [3, 4, 5]):
        with pytest.raises(ValidationError, match="should have as many values as sizes, 2"):
            Lists.model_validate({**values, "strides": strides})


@pytest.mark.parametrize(("depth", "width"), [(0, 0), (0, 5), (2, 5)])
def test_number_is_0_only_if_the_other_is_0(depth: int, width: int) -> None:
    values = {"depth": depth, "sizes": [], "strides": []}
    assert Lists.model_validate({**values, "width": width}).width == width
    with pytest.raises(ValidationError, match="should not be 0, because depth is 2"):
        Lists.model_validate({**values, "depth": 2, "width": 0})
