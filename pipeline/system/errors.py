"""The error for mistakes that a user can fix, and helpers for its message."""

import difflib

from pipeline.system.redaction import redact


class UserError(Exception):
    """A mistake that the user can fix; the message says what is wrong, where, and what to do.

    Addresses in the message lose their passwords, because messages are shown and logged.
    """

    def __init__(self, message: object) -> None:
        super().__init__(redact(str(message)))


def nearest(name: str, valid: list[str]) -> str:
    """Suggest names for the end of an error message: the closest ones, or all valid ones."""
    near = difflib.get_close_matches(name, valid, n=3)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; valid: {', '.join(sorted(valid))}" if valid else ""


def describe_error(error: BaseException) -> str:
    """An error as the reason of a failure, on one line.

    A `UserError` is described by its text. Of any other error, the class says what it is.
    """
    kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
    return f"{kind}{one_line(error)}"


def one_line(error: object) -> str:
    """The text of an error on one line. Addresses in it lose their passwords."""
    return redact(" ".join(str(error).split()))
