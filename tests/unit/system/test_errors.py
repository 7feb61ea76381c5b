import pytest

from pipeline.system.errors import UserError, describe_error, nearest, one_line

VALID = ["epochs", "batch_size", "patience"]


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("epohcs", "; did you mean epochs?"),
        ("batchsize", "; did you mean batch_size?"),
        ("width", "; valid: batch_size, epochs, patience"),
        ("", "; valid: batch_size, epochs, patience"),
    ],
)
def test_close_names_are_suggested_and_otherwise_all(name: str, suggestion: str) -> None:
    assert nearest(name, VALID) == suggestion


def test_at_most_three_names_are_suggested_closest_first() -> None:
    valid = ["layer_4", "layer_12", "layer_1", "layer_2"]
    assert nearest("layer_1", valid).startswith("; did you mean layer_1 or ")
    assert nearest("layer_1", valid).count(" or ") == 2


def test_nothing_is_suggested_when_nothing_is_valid() -> None:
    assert nearest("epochs", []) == ""


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("two\n  lines\tand a tab "), "two lines and a tab"),
        (OSError(28, "No space left", "a\nb"), "[Errno 28] No space left: 'a\\nb'"),
        ("\u2028text\r\n", "text"),
        (ValueError(), ""),
    ],
)
def test_error_becomes_one_line(error: object, line: str) -> None:
    assert one_line(error) == line


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UserError("the loss is nan"), "the loss is nan"),
        (ZeroDivisionError("a\nbug"), "ZeroDivisionError: a bug"),
    ],
)
def test_reason_of_a_failure_names_the_class_of_a_bug_only(error: Exception, reason: str) -> None:
    assert describe_error(error) == reason
