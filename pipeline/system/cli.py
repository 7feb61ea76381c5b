"""How every command starts, stops and fails. A failure prints one clear error, not a traceback."""

import gc
import io
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from pipeline.system.colour import print_error
from pipeline.system.environment import check_environment
from pipeline.system.errors import UserError, one_line

_held: list[int] = []  # the signal that `check_signals` will raise


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a command and exit.

    The exit status is what `main` returns, or 0 for None. After a `UserError` or an `OSError` (a
    full disk, a folder without permission) it is 1, with a line on stderr. After Ctrl-C it is 130,
    after SIGTERM 143. Any other exception is a bug and keeps its traceback.
    """
    signal.signal(signal.SIGTERM, _raise)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a locale without a character shows its number
            stream.reconfigure(errors="backslashreplace")
    # The imports create a million objects that stay. With Python's default threshold, garbage
    # collection takes a fifth of the time of the imports.
    gc.set_threshold(100_000)
    try:
        check_environment()
        status = main()
    except (UserError, OSError) as error:
        text = str(error) if isinstance(error, UserError) else one_line(error)
        print_error(text)
        status = 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = 130
    sys.exit(status)


@contextmanager
def signals_held() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM until `check_signals` or the end of the block.

    At any other moment, TensorFlow might swallow a signal, or a database might stay locked. A
    second signal is not held.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _hold)
    try:
        yield
        check_signals()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _held.clear()


def check_signals() -> None:
    """Raise the signal that is held, if there is one."""
    if _held:
        _raise(_held[0])


def no_arguments(description: str | None) -> None:
    """Parse the command line of a command that has `--help` but no arguments.

    Raises:
        UserError: for an argument that looks like a setting.
    """
    parser = ArgumentParser(
        description=description,
        epilog="Settings come from composed.yaml. Change params.yaml or conf/, then run dvc repro.",
    )
    _, unknown = parser.parse_known_args()
    if settings := [text for text in unknown if "=" in text and not text.startswith("-")]:
        shown = " ".join(settings)
        raise UserError(
            f"{shown}: this command takes its settings from composed.yaml; change params.yaml and "
            f"run `dvc repro`, or see the result with `python -m pipeline.compose {shown} --show`"
        )
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")


def _hold(number: int, frame: FrameType | None) -> None:
    if _held:
        _raise(number)
    _held.append(number)


def _raise(number: int, frame: FrameType | None = None) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)
