"""The error for mistakes that a user can fix, and helpers for its message."""

import difflib


class UserError(Exception):
    """A mistake that the user can fix; the message says what is wrong, where, and what to do."""


def nearest(name: str, valid: list[str]) -> str:
    """Suggest names for the end of an error message: the closest ones, or all valid ones."""
    near = difflib.get_close_matches(name, valid, n=3)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; valid: {', '.join(sorted(valid))}" if valid else ""


def one_line(error: object) -> str:
    """The text of an error with all white space reduced to single spaces."""
    return " ".join(str(error).split())
