"""The bytes of an IDX file as they arrive from a mirror: uncompressed and verified."""

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from typing import BinaryIO, cast

from pipeline.config.schema import File
from pipeline.data import idx

CHUNK = 1 << 18  # bytes that are read together


class MirrorError(Exception):
    """Why a mirror could not provide a file."""


def uncompressed(source: io.RawIOBase) -> BinaryIO:
    """A stream, decompressed if it starts like gzip. File names do not show this reliably."""
    buffered = io.BufferedReader(source, CHUNK)
    if buffered.peek(2)[:2] == b"\x1f\x8b":
        return cast(BinaryIO, gzip.GzipFile(fileobj=buffered))
    return buffered


def verified(source: BinaryIO, file: File, rank: int, max_bytes: int) -> Iterator[bytes]:
    """Yield the bytes of a file, and verify them.

    Args:
        source: the uncompressed file.
        file: its SHA-256 and size if they are pinned.
        rank: 3 for images, 1 for labels.
        max_bytes: the largest size of a file.

    Raises:
        MirrorError: as soon as the length is known to be wrong, or at the end for a wrong digest.
    """
    digest = hashlib.sha256()
    try:
        for chunk in _bounded(source, file, rank, max_bytes):
            digest.update(chunk)
            yield chunk
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise MirrorError(f"not a complete gzip file: {error}") from None
    if file.sha256 is not None and digest.hexdigest() != file.sha256:
        raise MirrorError(f"SHA-256 is {digest.hexdigest()}, not {file.sha256}")


def _bounded(source: BinaryIO, file: File, rank: int, max_bytes: int) -> Iterator[bytes]:
    start = source.read(CHUNK)
    try:
        expected = idx.file_size(start, rank)
    except ValueError as error:
        raise MirrorError(str(error)) from None
    if file.bytes is not None and expected != file.bytes:
        raise MirrorError(f"declares {expected} bytes, not {file.bytes}")
    if expected > max_bytes:
        raise MirrorError(f"declares {expected} bytes; fetch.max_bytes is {max_bytes}")
    received, chunk = 0, start
    while chunk:
        received += len(chunk)
        if received > expected:
            raise MirrorError(f"has more than the {expected} bytes that its header declares")
        yield chunk
        chunk = source.read(CHUNK)
    if received < expected:
        raise MirrorError(f"ends after {received} of {expected} bytes")
