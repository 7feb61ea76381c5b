"""How every command of the pipeline starts and how it fails: one clear error, no traceback."""

import gc
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_held: list[int] = []  # the signal that waits for `check_signals`


class UserError(Exception):
    """A mistake that the user can mend; the message says what is wrong, where, and what to do."""


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a command and exit: 0, its own status, or 1 with a line for a `UserError`.

    What the system refuses is the user's to mend too: a full disk, a folder without permission.
    Ctrl-C and SIGTERM end it alike, in order, with 130 and 143. A bug keeps its traceback: it is
    not the user's to mend.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    # The imports make a million objects that stay. To look through them again and again, as they
    # become more, takes a fifth of the imports' time.
    gc.set_threshold(100_000)
    try:
        status = main()
    except (UserError, OSError) as error:
        text = str(error) if isinstance(error, UserError) else " ".join(str(error).split())
        print(f"error: {text}", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = 130
    sys.exit(status)


@contextmanager
def signals_held() -> Iterator[None]:
    """While the block runs, Ctrl-C and SIGTERM wait for `check_signals`, or for the block's end.

    Raised just anywhere, TensorFlow may swallow them, or a database be left locked. The second one
    does not wait.
    """

    def hold(number: int, frame: FrameType | None) -> None:
        if _held:
            _interrupt(number)
        _held.append(number)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, hold)
    try:
        yield
        check_signals()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _held.clear()


def check_signals() -> None:
    """Raise the signal that is held back, if there is one."""
    if _held:
        _interrupt(_held[0])


def _interrupt(number: int, frame: FrameType | None = None) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def no_arguments(description: str | None) -> None:
    """Answer `--help` and refuse arguments, for a stage whose settings all come from the config."""
    ArgumentParser(
        description=description,
        epilog="Settings come from composed.yaml: change params.yaml or conf/, then `dvc repro`.",
    ).parse_args()
