"""Mirrors on this machine that answer as a test wants, and the data set that they hold."""

import gzip
import hashlib
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pipeline.config.schema import Data, Fetch, File, Files
from tests.helpers import tiny

CONTENTS = tiny.contents(tiny.split(30), tiny.split(12, seed=1))
IMAGES = CONTENTS["train-images"]
SETTINGS = Fetch(
    connect_timeout=2.0, read_timeout=0.3, total_timeout=0.6, retries=0, max_bytes=10**6
)
Reply = Callable[[BaseHTTPRequestHandler], None]


def body(content: bytes, status: int = 200) -> Reply:
    def reply(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    return reply


def wire(start: bytes, chunk: bytes = b"", pause: float = 0.0) -> Reply:
    """Send exactly these bytes, status line included, then the chunk repeatedly for 3 seconds."""

    def reply(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(start)
        end = time.monotonic() + 3
        while chunk and time.monotonic() < end:
            request.wfile.write(chunk)
            time.sleep(pause)

    return reply


def with_headers(*headers: str, content: bytes = b"", status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + content


class Mirror:
    """A web server on this machine. It answers a path that it does not know with 404."""

    def __init__(self) -> None:
        self.replies: dict[str, Reply] = {}
        self.requested: list[str] = []
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mirror.requested.append(self.path.strip("/"))
                try:
                    mirror.replies.get(self.path.strip("/"), body(b"none", 404))(self)
                except OSError:
                    self.close_connection = True  # the client has closed the connection

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def serve(self, contents: dict[str, bytes], suffix: str = ".gz") -> None:
        for name, content in contents.items():
            self.replies[name + suffix] = body(gzip.compress(content) if suffix else content)


def data_set(*addresses: str, pinned: bool = True, sizes: bool = True) -> Data:
    """The tiny data set on these mirrors, with or without its digests and sizes."""
    files = {
        part: File(
            name=file.name,
            sha256=hashlib.sha256(CONTENTS[file.name]).hexdigest() if pinned else None,
            bytes=len(CONTENTS[file.name]) if sizes else None,
        )
        for part, file in vars(tiny.FILES).items()
        if not part.startswith("_")
    }
    return Data(name="tiny", mirrors=list(addresses), files=Files(**files))


def files_in(folder: Path) -> dict[str, bytes]:
    """The content of each file in a folder, dot-files included."""
    return {p.name: p.read_bytes() for p in folder.iterdir()} if folder.is_dir() else {}


def redirect_to(location: str) -> Reply:
    return wire(with_headers(f"Location: {location}", status="302 Found"))
