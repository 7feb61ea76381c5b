from typing import Any

import pytest

from pipeline.config.instantiation import instantiate_section
from pipeline.system.errors import UserError
from tests.helpers.configs import assert_one_line
from tests.helpers.parts import Pair

PAIR = "tests.helpers.parts.Pair"


def test_target_is_called_with_its_settings_and_the_arguments_of_the_pipeline() -> None:
    settings = {"_target_": PAIR, "left": 1}
    assert instantiate_section("part", settings, right=3) == Pair(1, 3)
    assert settings == {"_target_": PAIR, "left": 1}


def test_nested_targets_are_made_and_lists_stay_lists() -> None:
    inner = {"_target_": PAIR, "left": 1, "right": 2}
    made = instantiate_section("part", {"_target_": PAIR, "left": inner, "right": [1, {"c": 2}]})
    assert made == Pair(Pair(1, 2), [1, {"c": 2}])
    assert type(made.right) is list
    assert type(made.right[1]) is dict


def test_partial_target_becomes_a_function() -> None:
    settings = {"_target_": PAIR, "_partial_": True, "left": 1}
    assert instantiate_section("part", settings)(right=4) == Pair(1, 4)


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"_target_": "tests.helpers.no_such_module.Pair"}, ["no_such_module"]),
        ({"_target_": "tests.helpers.parts.NoSuchClass"}, ["NoSuchClass"]),
        ({"_target_": PAIR, "middle": 1}, ["middle"]),
        ({"_target_": PAIR, "left": "refused"}, ["left is refused"]),
    ],
)
def test_refused_settings_are_one_line(settings: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(UserError) as error:
        instantiate_section("part", settings)
    assert_one_line(error.value, ["part: ", settings["_target_"], "refuses its settings", *parts])


@pytest.mark.parametrize(
    "settings",
    [
        {"_target_": "builtins.open", "file": "made", "mode": "w"},
        {"_target_": PAIR, "left": {"_target_": "builtins.open", "file": "made", "mode": "w"}},
        {"_target_": PAIR, "left": [[{"_target_": "pathlib.Path.touch", "_args_": ["made"]}]]},
        {"_target_": PAIR, "left": {"_target_": "builtins.open", "_partial_": True}},
        {"_target_": "pipeline.system.files.write_text", "path": "made", "text": ""},
    ],
)
def test_target_that_is_not_allowed_is_never_called(
    settings: dict[str, Any], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^part: .* is refused"):
        instantiate_section("part", settings)
    assert list(tmp_path.iterdir()) == []
