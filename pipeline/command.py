"""How every command of the pipeline starts and how it fails: one clear error, no traceback."""

import signal
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from typing import NoReturn


class UserError(Exception):
    """A mistake that the user can mend; the message says what is wrong, where, and what to do."""


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a command and exit: 0, its own status, or 1 with a line for a `UserError`.

    What the system refuses is the user's to mend too: a full disk, a folder without permission.
    Ctrl-C and SIGTERM end it alike, in order, with 130 and 143. A bug keeps its traceback: it is
    not the user's to mend.
    """
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
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


def no_arguments(description: str | None) -> None:
    """Answer `--help` and refuse arguments, for a stage whose settings all come from the config."""
    ArgumentParser(
        description=description,
        epilog="Settings come from composed.yaml: change params.yaml or conf/, then `dvc repro`.",
    ).parse_args()
