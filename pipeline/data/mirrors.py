"""Download the files of a data set from a mirror, and verify them while they arrive."""

import gzip
import hashlib
import io
import math
import queue
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import urljoin

import requests
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.exceptions import HTTPError, MaxRetryError
from urllib3.util import Retry

from pipeline.config.paths import repository_root
from pipeline.config.schema import Data, Fetch, File
from pipeline.data import idx
from pipeline.data.sample import SAMPLE_MIRROR, sample_files
from pipeline.system.errors import one_line
from pipeline.system.files import atomic_write

_CHUNK = 1 << 18
_BUSY = {429, 500, 502, 503, 504}
_REDIRECTS = 5


class MirrorError(Exception):
    """Why a mirror could not provide a file."""


class _Session(requests.Session):
    """A session that does not follow redirects: `requests` would read the full body of each."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


def open_session(retries: int) -> requests.Session:
    """Open a session for all downloads. Refused connections are retried up to `retries` times."""
    session = _Session()
    # Otherwise a server may compress the file a second time.
    session.headers["Accept-Encoding"] = "identity"
    # Retry only connections: urllib3 would read the full body of a 503 before a second request.
    retry = Retry(retries, backoff_factor=0.5, status=0, respect_retry_after_header=False)
    session.mount("https://", HTTPAdapter(max_retries=retry))
    session.mount("http://", HTTPAdapter(max_retries=retry))
    return session


def store_file(
    mirror: str,
    file: File,
    rank: int,
    data: Data,
    settings: Fetch,
    session: requests.Session,
    target: Path,
) -> str:
    """Store a file from a mirror, and verify it.

    Args:
        mirror: a folder, a URL, or SAMPLE_MIRROR.
        file: the file's name, and its SHA-256 and size if they are pinned.
        rank: the number of dimensions that the file must have.
        data: the data set.
        settings: time-outs and limits.
        session: the session for downloads.
        target: where to store the file.

    Returns:
        The SHA-256 of the uncompressed bytes.

    Raises:
        MirrorError: when the mirror does not have the file, or has a different one.
    """
    digest = hashlib.sha256()
    try:
        with (
            _open(mirror, file.name, data, settings, session) as source,
            atomic_write(target) as out,
        ):
            for chunk in _bounded(source, file, rank, settings.max_bytes):
                digest.update(chunk)
                out.write(chunk)
            # Inside the block, so that a wrong file never appears under its final name.
            if file.sha256 is not None and digest.hexdigest() != file.sha256:
                raise MirrorError(f"SHA-256 is {digest.hexdigest()}, not {file.sha256}")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise MirrorError(f"not a complete gzip file: {error}") from None
    except (requests.RequestException, HTTPError) as error:
        raise MirrorError(_reason(error)) from None
    return digest.hexdigest()


def _bounded(source: BinaryIO, file: File, rank: int, max_bytes: int) -> Iterator[bytes]:
    """Yield the bytes of a file. Raise MirrorError as soon as its length is known to be wrong."""
    start = source.read(_CHUNK)
    try:
        size, shape = idx.header_size(start)
    except ValueError as error:
        raise MirrorError(str(error)) from None
    if len(shape) != rank:
        raise MirrorError(f"has {len(shape)} dimensions, not {rank}")
    expected = size + math.prod(shape)
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
        chunk = source.read(_CHUNK)
    if received < expected:
        raise MirrorError(f"ends after {received} of {expected} bytes")


@contextmanager
def _open(
    mirror: str,
    name: str,
    data: Data,
    settings: Fetch,
    session: requests.Session,
) -> Iterator[BinaryIO]:
    """Open a mirror's copy of a file as a stream of uncompressed bytes."""
    if mirror == SAMPLE_MIRROR:
        yield io.BytesIO(sample_files(data.files)[name])
    elif "://" in mirror:
        url = f"{mirror.rstrip('/')}/{name}"
        deadline = time.monotonic() + settings.total_timeout
        try:
            download = _Download(session, f"{url}.gz", settings, deadline)
        except requests.HTTPError as error:
            if error.response.status_code != requests.codes.not_found:
                raise
            download = _Download(session, url, settings, deadline)
        with download:
            yield _uncompressed(download)
    else:
        folder = repository_root() / Path(mirror).expanduser()
        for path in (folder / f"{name}.gz", folder / name):
            if path.is_file():
                try:
                    file = path.open("rb", buffering=0)
                except OSError as error:
                    raise MirrorError(str(error)) from None
                with file:
                    yield _uncompressed(file)
                return
        raise MirrorError(f"no {name} in it" if folder.is_dir() else "no such folder")


def _uncompressed(source: io.RawIOBase) -> BinaryIO:
    """A stream, decompressed if it starts like gzip. File names do not show this reliably."""
    buffered = io.BufferedReader(source, _CHUNK)
    if buffered.peek(2)[:2] == b"\x1f\x8b":
        return cast(BinaryIO, gzip.GzipFile(fileobj=buffered))
    return buffered


class _Download(io.RawIOBase):
    """The body of a URL as a file, with a progress bar and a deadline.

    A thread reads the network, and is abandoned at the deadline. A socket's time-out is not enough:
    it restarts with each byte, and a mirror may also send its headers slowly.
    """

    def __init__(
        self, session: requests.Session, url: str, settings: Fetch, deadline: float
    ) -> None:
        self._deadline = deadline
        self._received: queue.Queue[requests.Response | bytes | Exception] = queue.Queue(4)
        self._over = threading.Event()
        self._rest = b""
        self._bar: tqdm[Any] | None = None
        threading.Thread(target=self._receive, args=(session, url, settings), daemon=True).start()
        response = cast(requests.Response, self._next())
        length = response.headers.get("Content-Length", "")
        self._bar = tqdm(
            total=int(length) if length.isdecimal() and len(length) < 16 else None,  # below a PB
            desc=url.rpartition("/")[2],
            unit="B",
            unit_scale=True,
        )

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self._rest or cast(bytes, self._next())
        if not chunk:
            self._received.put(b"")  # a reader may read past the end more than once
        size = min(len(chunk), len(buffer))
        buffer[:size], self._rest = chunk[:size], chunk[size:]
        if self._bar is not None:
            self._bar.update(size)
        return size

    def close(self) -> None:
        self._over.set()
        while not self._received.empty():  # the thread may be waiting for space in the queue
            self._received.get()
        if self._bar is not None:
            self._bar.close()
        super().close()

    def _next(self) -> requests.Response | bytes:
        """What the thread received next: the response, then parts of its body, then b""."""
        left = self._deadline - time.monotonic()
        try:
            if left <= 0:
                raise queue.Empty
            item = self._received.get(timeout=left)
        except queue.Empty:
            self._over.set()
            raise MirrorError("too slow: fetch.total_timeout has passed") from None
        if isinstance(item, Exception):
            raise item
        return item

    def _receive(self, session: requests.Session, url: str, settings: Fetch) -> None:
        try:
            with _respond(session, url, settings) as response:
                response.raise_for_status()
                self._received.put(response)
                while not self._over.is_set() and (chunk := response.raw.read1(_CHUNK)):
                    self._received.put(chunk)
            self._received.put(b"")
        except Exception as error:
            self._received.put(error)


def _respond(session: requests.Session, url: str, settings: Fetch) -> requests.Response:
    """Follow redirects, and retry while the server is busy.

    The bodies of intermediate responses are not read, because they may have any size.
    """
    timeout = (settings.connect_timeout, settings.read_timeout)
    redirects = retries = 0
    while True:
        response = session.get(url, stream=True, timeout=timeout)
        if response.is_redirect:
            redirects += 1
            if redirects > _REDIRECTS:
                raise MirrorError(f"more than {_REDIRECTS} redirects")
            location = response.headers["Location"]
            try:
                url = urljoin(url, location)
            except ValueError:
                raise MirrorError(f"redirects to {location!r}") from None
        elif response.status_code in _BUSY and retries < settings.retries:
            time.sleep(0.5 * 2**retries)
            retries += 1
        else:
            return response
        response.close()


def _reason(error: Exception) -> str:
    """The innermost cause of an error of requests or urllib3, on one line."""
    while isinstance(error, requests.RequestException | MaxRetryError) and error.args:
        inner = getattr(error, "reason", None) or error.args[0]
        if not isinstance(inner, Exception):
            break
        error = inner
    return one_line(error)[:300]
