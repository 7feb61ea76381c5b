from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from pipeline.config import types

INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("type_", "valid", "invalid"),
    [
        (types.Fraction, [0.0, 0.999], [-0.1, 1.0, NAN]),
        (types.Share, [0.0, 1.0], [-0.1, 1.1, NAN]),
        (types.NotNegative, [0.0, 1e300], [-1e-300, INF, NAN]),
        (types.Positive, [1e-300, 1e300], [0.0, -1.0, INF, NAN]),
        (types.Count, [1, 10**30], [0, -1]),
        (types.Width, [0, 65_536], [-1, 65_537]),
        (types.Seed, [0, 2**32 - 1], [-1, 2**32]),
        (types.Slug, ["a", "0-a_b"], ["", "-a", "A", "a b", "a/b", "a."]),
        (types.Text, [" ", "×"], [""]),
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
