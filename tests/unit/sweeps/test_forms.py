from typing import Any

import pytest

from pipeline.system.errors import UserError
from tests.helpers.spaces import checked_space


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "given", "form"),
    [
        ("model.width", "interval(16, 256)", "int(interval(16, 256))"),
        ("model.width", "tag(log, interval(16, 256))", "tag(log, int(interval(16, 256)))"),
        ("optimizer.learning_rate", [0.1, 0.01], "choice(0.1, 0.01)"),
        ("optimizer.learning_rate", {"values": [0.1, 0.01]}, "choice(0.1, 0.01)"),
        (
            "optimizer.learning_rate",
            {"min": 0.1, "max": 1.0, "distribution": "log_uniform_values"},
            "tag(log, interval(0.1, 1.0))",
        ),
        (
            "optimizer.learning_rate",
            {"type": "float", "low": 0.1, "high": 1.0},
            "interval(0.1, 1.0)",
        ),
        ("model.depth", {"type": "int", "low": 1, "high": 4}, "int(interval(1, 4))"),
        ("optimizer.learning_rate", "uniform(0.1, 1)", "interval(0.1, 1)"),
        ("optimizer.learning_rate", "loguniform(0.1, 1)", "tag(log, interval(0.1, 1))"),
        ("optimizer.learning_rate", "interval(0.1, 1, log=true)", "tag(log, interval(0.1, 1))"),
        ("model.depth", "randint(1, 4)", "int(interval(1, 4))"),
        ("train.epochs", "range(1, 5, log=true)", "tag(log, range(1, 5))"),
        ("+optimizer.clipnorm", "choice(null, 0.001)", "null, 0.001"),
    ],
)
def test_form_of_another_tool_is_answered_with_one_that_works(
    key: str, given: Any, form: str
) -> None:
    with pytest.raises(UserError) as caught:
        checked_space({key: given})
    assert f"write {form}" in str(caught.value)
    checked_space({key: form})


def test_both_forms_are_given_for_an_interval_between_whole_numbers() -> None:
    with pytest.raises(UserError) as caught:
        checked_space({"model.width": {"min": 16, "max": 256}})
    forms = r"write interval(16, 256), or int(interval(16, 256)) for whole numbers, not "
    assert forms in str(caught.value)
    checked_space({"model.width": "int(interval(16, 256))"})


def test_condition_with_a_misspelt_key_is_not_taken_for_an_interval() -> None:
    with pytest.raises(UserError, match="a condition is written"):
        checked_space({"model.depth": {"whn": "model=mlp", "space": "range(1, 3)"}})


def test_value_that_is_only_too_large_has_no_other_form() -> None:
    with pytest.raises(UserError, match=r"model\.depth") as caught:
        checked_space({"model.depth": "choice(1, 1000)"})
    assert "write" not in str(caught.value)


def test_form_is_found_in_the_branch_of_a_condition() -> None:
    width = [{"when": "model=mlp", "space": "interval(16, 256)"}, {"when": "model=rnn", "space": 8}]
    with pytest.raises(UserError, match=r"write int\(interval\(16, 256\)\)$"):
        checked_space({"model": "choice(mlp, rnn)", "model.width": width})


@pytest.mark.parametrize(
    ("key", "given"),
    [("optimizer.learning_rate", "choice(nullable, 0.1)"), ("model.filters", "[8, 0]")],
)
def test_other_mistakes_get_no_form(key: str, given: str) -> None:
    with pytest.raises(UserError) as caught:
        checked_space({"model": "cnn", key: given})
    assert "write" not in str(caught.value)
