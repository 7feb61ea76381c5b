"""Download the files of a data set from a mirror, and verify them while they arrive."""

import hashlib
import io
import queue
import threading
import time
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
from pipeline.data.folders import find_copy, open_copy
from pipeline.data.sample import SAMPLE_MIRROR, sample_files
from pipeline.data.streams import CHUNK, MirrorError, uncompressed, verified
from pipeline.system.errors import one_line
from pipeline.system.files import atomic_write

_BUSY = {429, 500, 502, 503, 504}
_REDIRECTS = 5


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
        rank: 3 for images, 1 for labels.
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
            _open(mirror, file, rank, data, settings, session) as source,
            atomic_write(target) as out,
        ):
            # Inside the block, so that a wrong file never appears under its final name.
            for chunk in verified(source, file, rank, settings.max_bytes):
                digest.update(chunk)
                out.write(chunk)
    except (requests.RequestException, HTTPError) as error:
        raise MirrorError(_reason(error)) from None
    return digest.hexdigest()


@contextmanager
def _open(
    mirror: str,
    file: File,
    rank: int,
    data: Data,
    settings: Fetch,
    session: requests.Session,
) -> Iterator[BinaryIO]:
    """Open a mirror's copy of a file as a stream of uncompressed bytes."""
    if mirror == SAMPLE_MIRROR:
        yield io.BytesIO(sample_files(data.files)[file.name])
    elif "://" in mirror:
        url = f"{mirror.rstrip('/')}/{file.name}"
        deadline = time.monotonic() + settings.total_timeout
        try:
            download = _Download(session, f"{url}.gz", settings, deadline)
        except requests.HTTPError as error:
            if error.response.status_code != requests.codes.not_found:
                raise
            download = _Download(session, url, settings, deadline)
        with download:
            yield uncompressed(download)
    else:
        folder = repository_root() / Path(mirror).expanduser()
        try:
            copy = find_copy(folder, file, rank, settings.max_bytes)
        except OSError as error:
            raise MirrorError(str(error)) from None
        with open_copy(copy) as source:
            yield source


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
                while not self._over.is_set() and (chunk := response.raw.read1(CHUNK)):
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
