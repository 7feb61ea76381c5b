"""Hide what libraries that are not Python print on stderr."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hide all that the process writes to stderr in the block. Other threads must not write."""
    sys.stderr.flush()
    stderr = os.dup(2)
    hidden = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(hidden, 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(hidden)
