from fractions import Fraction
from typing import Any

import pytest

from pipeline.config.instantiation import instantiate_section
from pipeline.system.errors import UserError
from tests.helpers.configs import assert_one_line


def test_target_is_called_with_its_settings_and_the_arguments_of_the_pipeline() -> None:
    settings = {"_target_": "fractions.Fraction", "numerator": 1}
    assert instantiate_section("part", settings, denominator=3) == Fraction(1, 3)
    assert settings == {"_target_": "fractions.Fraction", "numerator": 1}


def test_nested_targets_are_made_and_lists_stay_lists() -> None:
    half = {"_target_": "fractions.Fraction", "numerator": 1, "denominator": 2}
    made = instantiate_section("part", {"_target_": "builtins.dict", "a": half, "b": [1, {"c": 2}]})
    assert made == {"a": Fraction(1, 2), "b": [1, {"c": 2}]}
    assert type(made["b"]) is list
    assert type(made["b"][1]) is dict


def test_partial_target_becomes_a_function() -> None:
    settings = {"_target_": "fractions.Fraction", "_partial_": True, "numerator": 1}
    assert instantiate_section("part", settings)(denominator=4) == Fraction(1, 4)


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"_target_": "no_such_package.network"}, ["no_such_package"]),
        ({"_target_": "fractions.NoSuchClass"}, ["fractions.NoSuchClass", "NoSuchClass"]),
        ({"_target_": "fractions.Fraction", "nominator": 1}, ["nominator"]),
        (
            {"_target_": "fractions.Fraction", "numerator": 1, "denominator": 0},
            ["Fraction(1, 0)"],
        ),
    ],
)
def test_refused_settings_are_one_line(settings: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(UserError) as error:
        instantiate_section("part", settings)
    assert_one_line(error.value, ["part: ", settings["_target_"], "refuses its settings", *parts])
