"""How every command starts, stops and fails: one clear error, and no traceback."""

import gc
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from pipeline.system.errors import UserError, one_line

_held: list[int] = []  # the signal that `check_signals` will raise


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a command and exit.

    The exit status is that of `main`, 0 if it returns None, 1 with a line on stderr for a
    `UserError` or an `OSError` (a full disk, a folder without permission), 130 after Ctrl-C and 143
    after SIGTERM. Any other exception is a bug and keeps its traceback.
    """
    signal.signal(signal.SIGTERM, _raise)
    # The imports create a million objects that stay. Collecting garbage as often as Python does by
    # default takes a fifth of their time.
    gc.set_threshold(100_000)
    try:
        status = main()
    except (UserError, OSError) as error:
        text = str(error) if isinstance(error, UserError) else one_line(error)
        print(f"error: {text}", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = 130
    sys.exit(status)


@contextmanager
def signals_held() -> Iterator[None]:
    """While the block runs, let Ctrl-C and SIGTERM wait for `check_signals` or the block's end.

    At any other moment, TensorFlow might swallow them, or a database stay locked. A second signal
    does not wait.
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
    """Parse the command line of a stage: it has `--help` and no arguments."""
    ArgumentParser(
        description=description,
        epilog="Settings come from composed.yaml: change params.yaml or conf/, then `dvc repro`.",
    ).parse_args()


def _hold(number: int, frame: FrameType | None) -> None:
    if _held:
        _raise(number)
    _held.append(number)


def _raise(number: int, frame: FrameType | None = None) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)
