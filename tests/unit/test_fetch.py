import gzip
import hashlib
import json
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.config.schema import Data, Fetch, File, Files
from pipeline.data import idx
from pipeline.fetch import fetch
from pipeline.system.errors import UserError
from tests.helpers import memory, tiny
from tests.helpers.configs import changed

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


def forever(chunk: bytes, pause: float) -> Reply:
    """A body that begins right and goes on until the reader has had enough."""

    def reply(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        request.wfile.write(IMAGES[:20])
        while True:
            request.wfile.write(chunk)
            time.sleep(pause)

    return reply


def wire(start: bytes, chunk: bytes = b"", pause: float = 0.0) -> Reply:
    """Exactly these bytes, status line included; then the chunk again and again, for 3 seconds."""

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


def silence(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    time.sleep(1)


def redirect(request: BaseHTTPRequestHandler) -> None:
    request.send_response(302)
    request.send_header("Location", request.path)
    request.end_headers()


def slow_redirect(request: BaseHTTPRequestHandler) -> None:
    time.sleep(0.2)
    redirect(request)


def cut(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(IMAGES)))
    request.end_headers()
    request.wfile.write(IMAGES[:100])


class Mirror:
    """A web server on this machine; what it has no reply for is a 404."""

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
                    self.close_connection = True  # the reader has gone

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


@pytest.fixture
def mirrors() -> Iterator[list[Mirror]]:
    """Two mirrors: an empty one, and one that has everything right."""
    both = [Mirror(), Mirror()]
    both[1].serve(CONTENTS)
    yield both
    for mirror in both:
        mirror.server.shutdown()
        mirror.server.server_close()


@pytest.fixture(autouse=True)
def no_data_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATA_MIRROR", raising=False)


def data(*addresses: str, pinned: bool = True, sizes: bool = True) -> Data:
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


def stored(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, dot-files too."""
    return {p.name: p.read_bytes() for p in folder.iterdir()} if folder.is_dir() else {}


@pytest.mark.parametrize("suffix", [".gz", ""])
def test_good_mirror_gives_four_uncompressed_files(
    tmp_path: Path, mirrors: list[Mirror], suffix: str
) -> None:
    mirrors[0].serve(CONTENTS, suffix)
    fetch(data(mirrors[0].url + "/"), SETTINGS, tmp_path / "raw")
    assert stored(tmp_path / "raw") == CONTENTS


def test_recompressed_copy_is_as_good(tmp_path: Path, mirrors: list[Mirror]) -> None:
    # Another level, a stored name and time, and a second member.
    first = gzip.compress(IMAGES[:50], 1, mtime=1)
    mirrors[1].replies["train-images.gz"] = body(first + gzip.compress(IMAGES[50:], 9))
    fetch(data(mirrors[1].url), SETTINGS, tmp_path / "raw")
    assert stored(tmp_path / "raw") == CONTENTS


def test_gz_file_that_the_server_has_unpacked_is_taken(
    tmp_path: Path, mirrors: list[Mirror]
) -> None:
    mirrors[1].replies["train-images.gz"] = body(IMAGES)
    fetch(data(mirrors[1].url), SETTINGS, tmp_path / "raw")
    assert stored(tmp_path / "raw") == CONTENTS


def moved(location: str) -> Reply:
    return wire(with_headers(f"Location: {location}", status="302 Found"))


GZIP_NAME = b"\x1f\x8b\x08\x08" + bytes(6)  # a gzip file up to its name, which may be of any length
WRONG = bytes([*IMAGES[:-1], IMAGES[-1] ^ 1])
HUGE = struct.pack(">HBB3I", 0, 8, 3, 60000, 28, 28)
BAD: dict[str, tuple[Reply, str]] = {
    "not found": (body(b"gone", 404), "404"),
    "server error": (body(b"sorry", 500), "500"),
    "forbidden": (body(b"no", 403), "403"),
    "HTML": (body(b"<html>Please log in</html>"), "not an IDX file"),
    "nothing": (body(b""), "not an IDX file"),
    "another data set": (body(gzip.compress(WRONG)), "SHA-256 is"),
    "cut-off gzip": (body(gzip.compress(IMAGES)[:-20]), "not a whole gzip file"),
    "gzip without its check": (body(gzip.compress(IMAGES)[:-4]), "not a whole gzip file"),
    "garbage after gzip": (body(gzip.compress(IMAGES) + b"more"), "not a whole gzip file"),
    "broken gzip": (body(b"\x1f\x8b\x08\x00" + bytes(20)), "not a whole gzip file"),
    "cut-off file": (body(IMAGES[:-1]), "of 2176 bytes"),
    "garbage after the file": (body(IMAGES + b"more"), "more than the 2176 bytes"),
    "another size": (body(CONTENTS["test-images"]), "declares 880 bytes, not 2176"),
    # A gigabyte, in a megabyte.
    "gzip bomb": (
        body(gzip.compress(IMAGES) + gzip.compress(bytes(2**20)) * 1024),
        "more than the 2176 bytes",
    ),
    "endless": (forever(bytes(2**16), 0.0), "more than the 2176 bytes"),
    "drip": (forever(b"\0", 0.05), "fetch.total_timeout"),
    "silence": (silence, "timed out"),
    "redirect loop": (redirect, "redirects"),
    "lost connection": (cut, ""),
    "drip of the status": (wire(b"HTTP/1.1 200 O", b"K", 0.05), "fetch.total_timeout"),
    "drip of headers": (wire(b"HTTP/1.1 200 OK\r\nX: ", b"x", 0.05), "fetch.total_timeout"),
    "drip of redirects": (slow_redirect, "fetch.total_timeout"),
    "drip of chunk sizes": (
        wire(with_headers("Transfer-Encoding: chunked"), b"0", 0.05),
        "fetch.total_timeout",
    ),
    "drip of gzip": (wire(with_headers(content=GZIP_NAME), b"x", 0.05), "fetch.total_timeout"),
    "empty gzip members": (
        wire(with_headers(content=gzip.compress(IMAGES)), gzip.compress(b"") * 100),
        "fetch.total_timeout",
    ),
    "endless continue": (wire(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.01), "fetch.total_timeout"),
    "endless headers": (wire(b"HTTP/1.1 200 OK\r\n", b"X: x\r\n"), "headers"),
    "endless header": (wire(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 2**16), "line"),
    "not HTTP": (wire(b"220 ready\r\n"), "220 ready"),
    "no answer": (wire(b""), "closed"),
    "no chunk size": (wire(with_headers("Transfer-Encoding: chunked", content=b"no\r\n")), ""),
    "cut-off chunk": (
        wire(with_headers("Transfer-Encoding: chunked", content=b"fff\r\n" + IMAGES[:99])),
        "",
    ),
    "length too small": (wire(with_headers("Content-Length: 99", content=IMAGES)), "99 of 2176"),
    "length too large": (wire(with_headers("Content-Length: 9999", content=IMAGES)), "2176 bytes"),
    "two lengths": (wire(with_headers("Content-Length: 1, 2176", content=IMAGES)), "1, 2176"),
    "redirect to a file": (moved("file:///etc/hostname"), "file:///etc/hostname"),
    "redirect to FTP": (moved("ftp://127.0.0.1/train-images"), "ftp://"),
    **{
        f"redirect to {location[:20]}": (moved(location), "")
        for location in (
            *("http://", "http://[::", "http://x:99999/", "http://a..b/", "//", "http://%00/"),
            f"http://{'x' * 70}.invalid/",
        )
    },
    "gzip in gzip": (body(gzip.compress(gzip.compress(IMAGES))), "not an IDX file"),
    "zeros": (body(gzip.compress(bytes(10**6))), "element type is 0x00"),
    "floats": (body(b"\0\0" + b"\x0d" + IMAGES[3:]), "element type is 0x0d"),
    "labels": (body(CONTENTS["train-labels"]), "has 1 dimensions, not 3"),
    "255 dimensions": (body(b"\0\0\x08\xff" + b"\xff" * 1020), "has 255 dimensions, not 3"),
}


@pytest.mark.parametrize(("reply", "said"), BAD.values(), ids=BAD.keys())
def test_bad_mirror_stores_nothing_and_the_next_is_asked(
    tmp_path: Path, mirrors: list[Mirror], reply: Reply, said: str
) -> None:
    bad, good = mirrors
    bad.serve(CONTENTS)
    bad.replies["train-images.gz"] = reply
    with pytest.raises(UserError) as error:
        fetch(data(bad.url), SETTINGS, tmp_path / "raw")
    assert said in str(error.value)
    assert stored(tmp_path / "raw") == {}
    fetch(data(bad.url, good.url), SETTINGS, tmp_path / "raw")
    assert stored(tmp_path / "raw") == CONTENTS


def test_bad_mirror_never_replaces_a_good_file(tmp_path: Path, mirrors: list[Mirror]) -> None:
    fetch(data(mirrors[1].url), SETTINGS, tmp_path)
    mirrors[1].replies["test-labels.gz"] = body(b"<html>")
    with pytest.raises(UserError, match="test-labels"):
        fetch(data(mirrors[1].url), SETTINGS, tmp_path)
    assert stored(tmp_path) == CONTENTS


def test_failed_mirror_goes_behind_the_others(tmp_path: Path, mirrors: list[Mirror]) -> None:
    fetch(data(mirrors[0].url, mirrors[1].url), SETTINGS, tmp_path)
    assert mirrors[0].requested == ["train-images.gz", "train-images"]
    assert mirrors[1].requested == [f"{name}.gz" for name in CONTENTS]


def test_busy_mirror_is_asked_again(tmp_path: Path, mirrors: list[Mirror]) -> None:
    good = mirrors[1].replies["train-images.gz"]

    def busy_once(request: BaseHTTPRequestHandler) -> None:
        mirrors[1].replies["train-images.gz"] = good
        body(b"later", 503)(request)

    mirrors[1].replies["train-images.gz"] = busy_once
    fetch(data(mirrors[1].url), changed(SETTINGS, retries=1), tmp_path)
    assert stored(tmp_path) == CONTENTS


def test_declared_size_above_the_limit_is_not_downloaded(
    tmp_path: Path, mirrors: list[Mirror]
) -> None:
    mirrors[1].replies["train-images.gz"] = body(gzip.compress(HUGE))
    with pytest.raises(UserError, match=r"declares 47040016 bytes; fetch\.max_bytes is 1000000"):
        fetch(data(mirrors[1].url, pinned=False, sizes=False), SETTINGS, tmp_path)
    assert stored(tmp_path) == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (struct.pack(">HBB3I", 0, 8, 3, *[2**32 - 1] * 3), "fetch.max_bytes is 1000000"),
        (struct.pack(">HBB3I", 0, 8, 3, 2**31, 2**31, 4), "fetch.max_bytes is 1000000"),
        (struct.pack(">HBB3I", 0, 8, 3, 1000, 1000, 1), "fetch.max_bytes is 1000000"),
        (b"\0\0\x08\xff" + b"\xff" * 1020, "has 255 dimensions, not 3"),
        (idx.dump(tiny.split(9).labels), "has 1 dimensions, not 3"),
        (b"\0\0\x08\0", "no dimensions"),
        (b"\0\0\x0b" + IMAGES[3:], "element type is 0x0b"),
        (b"\0\0\x08\x03\0\0", "cut off"),
    ],
)
def test_wrong_header_is_refused_without_a_pinned_size_too(
    tmp_path: Path, mirrors: list[Mirror], content: bytes, said: str
) -> None:
    mirrors[0].serve({**CONTENTS, "train-images": content + bytes(100)})
    if "cut" in said:
        mirrors[0].serve({"train-images": content})
    with pytest.raises(UserError) as error:
        fetch(data(mirrors[0].url, pinned=False, sizes=False), SETTINGS, tmp_path)
    assert said in str(error.value)
    assert len(str(error.value)) < 400
    assert stored(tmp_path) == {}


def test_labels_of_two_dimensions_are_refused(tmp_path: Path, mirrors: list[Mirror]) -> None:
    mirrors[1].serve({"test-labels": CONTENTS["test-images"]})
    with pytest.raises(UserError, match=r"has 3 dimensions, not 1"):
        fetch(data(mirrors[1].url, pinned=False, sizes=False), SETTINGS, tmp_path)


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Length: -5"],
        ["Content-Length: many"],
        ["Content-Length: " + "9" * 5000],
        ["Content-Encoding: gzip"],  # which is said of the file by servers that mean its name
        ["Content-Encoding: gzip, gzip"],
        ["Content-Type: image/png", "Content-Range: bytes 5-6/7"],
    ],
)
def test_what_headers_say_of_a_right_file_does_not_matter(
    tmp_path: Path, mirrors: list[Mirror], headers: list[str]
) -> None:
    content = gzip.compress(IMAGES)
    mirrors[1].replies["train-images.gz"] = wire(with_headers(*headers, content=content))
    fetch(data(mirrors[1].url), SETTINGS, tmp_path)
    assert stored(tmp_path) == CONTENTS


def test_redirect_to_another_server_is_followed(tmp_path: Path, mirrors: list[Mirror]) -> None:
    for name in CONTENTS:
        mirrors[0].replies[f"{name}.gz"] = moved(f"{mirrors[1].url}/{name}.gz")
    fetch(data(mirrors[0].url), SETTINGS, tmp_path)
    assert stored(tmp_path) == CONTENTS


MEGABYTE = bytes(2**20)
BOMBS = {
    "gzip": body(gzip.compress(HUGE + MEGABYTE * 256)),
    "gzip members": body(gzip.compress(HUGE) + gzip.compress(MEGABYTE) * 1024),
    "encoding": wire(with_headers("Content-Encoding: gzip", content=gzip.compress(MEGABYTE * 256))),
    "encodings": wire(
        with_headers(
            "Content-Encoding: gzip, gzip", content=gzip.compress(gzip.compress(MEGABYTE * 256))
        )
    ),
    "gzip name": wire(with_headers(content=GZIP_NAME), b"x" * 2**20),
    "chunk size": wire(with_headers("Transfer-Encoding: chunked"), b"0" * 2**20),
    "header": wire(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 2**20),
    "headers": wire(b"HTTP/1.1 200 OK\r\n", b"X: " + b"x" * 65000 + b"\r\n"),
    "redirect": wire(with_headers("Location: train-images", status="302 Found"), MEGABYTE),
    "busy": wire(with_headers(status="503 Busy"), MEGABYTE),
    "not found": wire(with_headers(status="404 Not Found"), MEGABYTE),
    "body": wire(with_headers(content=HUGE), MEGABYTE),
}


@pytest.mark.slow
def test_no_mirror_fills_the_memory(tmp_path: Path, mirrors: list[Mirror]) -> None:
    bad, good = mirrors
    for name, reply in BOMBS.items():
        bad.replies[f"{name.replace(' ', '-')}/train-images.gz"] = reply
        bad.replies[f"{name.replace(' ', '-')}/train-images"] = reply
    code = """
import json, sys
from pathlib import Path
from tests.helpers.memory import peak
from pipeline import config
from pipeline.command import UserError
from pipeline.fetch import fetch

limits = dict(connect_timeout=2.0, read_timeout=0.5, retries=1)
settings = config.Fetch(total_timeout=1.5, max_bytes=10**8, **limits)
files = {
    part: config.File(name=part.replace("_", "-"))
    for part in ("train_images", "train_labels", "test_images", "test_labels")
}
get = lambda url: fetch(
    config.Data(name="tiny", mirrors=[url], files=config.Files(**files)), settings, Path("raw")
)
good, *bombs = sys.argv[1:]
get(good)
grown, before = {}, peak()
for url in bombs:
    try:
        get(url)
    except UserError:
        grown[url.rpartition("/")[2]] = peak() - before
print(json.dumps(grown))
"""
    bombs = [f"{bad.url}/{name.replace(' ', '-')}" for name in BOMBS]
    grown = json.loads(memory.run(code, good.url, *bombs, folder=tmp_path)[-1])
    assert len(grown) == len(BOMBS)
    assert max(grown.values()) < 100, f"megabytes: {grown}"
    assert stored(tmp_path / "raw") == CONTENTS


def test_unpinned_file_is_taken_and_its_digest_printed(
    tmp_path: Path, mirrors: list[Mirror], capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(data(mirrors[1].url, pinned=False, sizes=False), SETTINGS, tmp_path)
    assert stored(tmp_path) == CONTENTS
    assert f"sha256: {hashlib.sha256(IMAGES).hexdigest()}" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".gz", ""])
def test_folder_named_by_data_mirror_goes_first(
    tmp_path: Path, mirrors: list[Mirror], monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    for name, content in CONTENTS.items():
        (folder / f"{name}{suffix}").write_bytes(gzip.compress(content) if suffix else content)
    monkeypatch.setenv("DATA_MIRROR", str(folder))
    fetch(data(mirrors[1].url), SETTINGS, tmp_path / "raw")
    assert stored(tmp_path / "raw") == CONTENTS
    assert mirrors[1].requested == []


def test_url_named_by_data_mirror_goes_first(
    tmp_path: Path, mirrors: list[Mirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_MIRROR", mirrors[1].url)
    fetch(data(mirrors[0].url), SETTINGS, tmp_path)
    assert stored(tmp_path) == CONTENTS
    assert mirrors[0].requested == []


def test_folder_is_relative_to_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    tiny.write_raw(tmp_path / "copy", tiny.split(30), tiny.split(12, seed=1))
    fetch(data("copy"), SETTINGS, tmp_path / "raw")
    assert stored(tmp_path / "raw") == CONTENTS


def test_no_mirror_lists_each_and_what_to_do(tmp_path: Path, mirrors: list[Mirror]) -> None:
    closed = Mirror()
    closed.server.shutdown()
    closed.server.server_close()
    (tmp_path / "empty").mkdir()
    addresses = {
        mirrors[0].url: "404",
        closed.url: "refused",
        str(tmp_path / "empty"): "no train-images in it",
        str(tmp_path / "nowhere"): "no such folder",
        "gopher://example.org": "gopher",
    }
    with pytest.raises(UserError) as error:
        fetch(data(*addresses), SETTINGS, tmp_path / "raw")
    first, *lines = str(error.value).splitlines()
    assert "train-images" in first
    for line, (address, reason) in zip(lines, addresses.items(), strict=False):
        assert line.startswith(f"  {address}: ")
        assert reason in line
    advice = "\n".join(lines[len(addresses) :])
    assert "DATA_MIRROR=" in advice
    assert "make demo" in advice
    assert stored(tmp_path / "raw") == {}
