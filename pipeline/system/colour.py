"""Errors and warnings, coloured on a terminal unless NO_COLOR is set (https://no-color.org)."""

import os
import sys
from typing import TextIO

RED, YELLOW = 31, 33


def paint(text: str, colour: int, stream: TextIO) -> str:
    """A text in a colour, if the stream is a terminal that may show colours; else the text."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not stream.isatty()
    return text if plain else f"\x1b[{colour}m{text}\x1b[0m"


def print_error(text: str) -> None:
    """Print an error on stderr."""
    print(f"{paint('error:', RED, sys.stderr)} {text}", file=sys.stderr)


def print_warning(text: str) -> None:
    """Print a warning on stderr."""
    print(f"{paint('warning:', YELLOW, sys.stderr)} {text}", file=sys.stderr)
