import gzip
import hashlib
import json
import struct
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from pipeline.data import idx
from pipeline.data.mirrors import open_session, store_file
from pipeline.data.streams import MirrorError
from pipeline.fetch import fetch
from pipeline.system.errors import UserError
from tests.helpers import memory, tiny
from tests.helpers.configs import changed
from tests.helpers.mirrors import (
    CONTENTS,
    IMAGES,
    SETTINGS,
    Mirror,
    Reply,
    body,
    data_set,
    files_in,
    redirect_to,
    wire,
    with_headers,
)


def forever(chunk: bytes, pause: float) -> Reply:
    """A body that begins correctly and never ends."""

    def reply(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        request.wfile.write(IMAGES[:20])
        while True:
            request.wfile.write(chunk)
            time.sleep(pause)

    return reply


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


def test_recompressed_copy_is_accepted(tmp_path: Path, mirrors: list[Mirror]) -> None:
    # Another compression level, a stored time, and a second gzip member.
    first = gzip.compress(IMAGES[:50], 1, mtime=1)
    mirrors[1].replies["train-images.gz"] = body(first + gzip.compress(IMAGES[50:], 9))
    fetch(data_set(mirrors[1].url), SETTINGS, tmp_path / "raw")
    assert files_in(tmp_path / "raw") == CONTENTS


def test_gz_file_that_the_server_has_unpacked_is_accepted(
    tmp_path: Path, mirrors: list[Mirror]
) -> None:
    mirrors[1].replies["train-images.gz"] = body(IMAGES)
    fetch(data_set(mirrors[1].url), SETTINGS, tmp_path / "raw")
    assert files_in(tmp_path / "raw") == CONTENTS


GZIP_NAME = b"\x1f\x8b\x08\x08" + bytes(6)  # a gzip file up to its name, which may have any length


WRONG = bytes([*IMAGES[:-1], IMAGES[-1] ^ 1])


HUGE = struct.pack(">HBB3I", 0, 8, 3, 60000, 28, 28)


BAD: dict[str, tuple[Reply, str]] = {
    "not found": (body(b"gone", 404), "404"),
    "server error": (body(b"sorry", 500), "500"),
    "forbidden": (body(b"no", 403), "403"),
    "HTML": (body(b"<html>Please log in</html>"), "not an IDX file"),
    "nothing": (body(b""), "not an IDX file"),
    "another data set": (body(gzip.compress(WRONG)), "SHA-256 is"),
    "cut-off gzip": (body(gzip.compress(IMAGES)[:-20]), "not a complete gzip file"),
    "gzip without its check": (body(gzip.compress(IMAGES)[:-4]), "not a complete gzip file"),
    "garbage after gzip": (body(gzip.compress(IMAGES) + b"more"), "not a complete gzip file"),
    "broken gzip": (body(b"\x1f\x8b\x08\x00" + bytes(20)), "not a complete gzip file"),
    "cut-off file": (body(IMAGES[:-1]), "of 2176 bytes"),
    "garbage after the file": (body(IMAGES + b"more"), "more than the 2176 bytes"),
    "another size": (body(CONTENTS["test-images"]), "declares 880 bytes, not 2176"),
    # A gigabyte of zeros, compressed to a megabyte.
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
    "redirect to a file": (redirect_to("file:///etc/hostname"), "file:///etc/hostname"),
    "redirect to FTP": (redirect_to("ftp://127.0.0.1/train-images"), "ftp://"),
    **{
        f"redirect to {location[:20]}": (redirect_to(location), "")
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


@pytest.mark.slow
@pytest.mark.parametrize(("reply", "message"), BAD.values(), ids=BAD.keys())
def test_bad_mirror_stores_nothing_and_the_next_is_tried(
    tmp_path: Path, mirrors: list[Mirror], reply: Reply, message: str
) -> None:
    bad, good = mirrors
    bad.serve(CONTENTS)
    bad.replies["train-images.gz"] = reply
    settings = SETTINGS
    if message not in ("fetch.total_timeout", "timed out"):
        # On a busy machine, another reply could come too late.
        settings = changed(SETTINGS, read_timeout=10.0, total_timeout=60.0)
    with pytest.raises(UserError) as error:
        fetch(data_set(bad.url), settings, tmp_path / "raw")
    assert message in str(error.value)
    assert files_in(tmp_path / "raw") == {}
    fetch(data_set(bad.url, good.url), settings, tmp_path / "raw")
    assert files_in(tmp_path / "raw") == CONTENTS


def test_bad_mirror_never_replaces_a_good_file(tmp_path: Path, mirrors: list[Mirror]) -> None:
    fetch(data_set(mirrors[1].url), SETTINGS, tmp_path)
    mirrors[1].replies["test-labels.gz"] = body(b"<html>")
    with pytest.raises(UserError, match="test-labels"):
        fetch(data_set(mirrors[1].url), SETTINGS, tmp_path)
    assert files_in(tmp_path) == CONTENTS


@pytest.mark.slow
def test_busy_mirror_is_tried_again(tmp_path: Path, mirrors: list[Mirror]) -> None:
    good = mirrors[1].replies["train-images.gz"]

    def busy_once(request: BaseHTTPRequestHandler) -> None:
        mirrors[1].replies["train-images.gz"] = good
        body(b"later", 503)(request)

    mirrors[1].replies["train-images.gz"] = busy_once
    fetch(data_set(mirrors[1].url), changed(SETTINGS, retries=1), tmp_path)
    assert files_in(tmp_path) == CONTENTS


def test_declared_size_above_the_limit_is_not_downloaded(
    tmp_path: Path, mirrors: list[Mirror]
) -> None:
    mirrors[1].replies["train-images.gz"] = body(gzip.compress(HUGE))
    with pytest.raises(UserError, match=r"declares 47040016 bytes; fetch\.max_bytes is 1000000"):
        fetch(data_set(mirrors[1].url, pinned=False, sizes=False), SETTINGS, tmp_path)
    assert files_in(tmp_path) == {}


@pytest.mark.parametrize(
    ("content", "message"),
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
    tmp_path: Path, mirrors: list[Mirror], content: bytes, message: str
) -> None:
    mirrors[0].serve({**CONTENTS, "train-images": content + bytes(100)})
    if "cut" in message:
        mirrors[0].serve({"train-images": content})
    with pytest.raises(UserError) as error:
        fetch(data_set(mirrors[0].url, pinned=False, sizes=False), SETTINGS, tmp_path)
    assert message in str(error.value)
    assert len(str(error.value)) < 400
    assert files_in(tmp_path) == {}


def test_labels_of_two_dimensions_are_refused(tmp_path: Path, mirrors: list[Mirror]) -> None:
    mirrors[1].serve({"test-labels": CONTENTS["test-images"]})
    with pytest.raises(UserError, match=r"has 3 dimensions, not 1"):
        fetch(data_set(mirrors[1].url, pinned=False, sizes=False), SETTINGS, tmp_path)


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Length: -5"],
        ["Content-Length: many"],
        ["Content-Length: " + "9" * 5000],
        ["Content-Encoding: gzip"],  # some servers send it because of the file's name
        ["Content-Encoding: gzip, gzip"],
        ["Content-Type: image/png", "Content-Range: bytes 5-6/7"],
    ],
)
def test_wrong_headers_of_a_good_file_do_not_matter(
    tmp_path: Path, mirrors: list[Mirror], headers: list[str]
) -> None:
    content = gzip.compress(IMAGES)
    mirrors[1].replies["train-images.gz"] = wire(with_headers(*headers, content=content))
    fetch(data_set(mirrors[1].url), SETTINGS, tmp_path)
    assert files_in(tmp_path) == CONTENTS


def test_redirect_to_another_server_is_followed(tmp_path: Path, mirrors: list[Mirror]) -> None:
    for name in CONTENTS:
        mirrors[0].replies[f"{name}.gz"] = redirect_to(f"{mirrors[1].url}/{name}.gz")
    fetch(data_set(mirrors[0].url), SETTINGS, tmp_path)
    assert files_in(tmp_path) == CONTENTS


MEGABYTE = bytes(2**20)


def make_bombs() -> dict[str, Reply]:
    zeros = gzip.compress(bytes(2**28))
    return {
        "gzip": body(gzip.compress(HUGE + MEGABYTE * 256)),
        "gzip members": body(gzip.compress(HUGE) + gzip.compress(MEGABYTE) * 1024),
        "encoding": wire(
            with_headers("Content-Encoding: gzip", content=gzip.compress(MEGABYTE * 256))
        ),
        "encodings": wire(
            with_headers("Content-Encoding: gzip, gzip", content=gzip.compress(zeros))
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
    bombs = make_bombs()
    for name, reply in bombs.items():
        bad.replies[f"{name.replace(' ', '-')}/train-images.gz"] = reply
        bad.replies[f"{name.replace(' ', '-')}/train-images"] = reply
    code = """
import json, sys
from pathlib import Path
from pipeline.config.schema import Data, Fetch, File, Files
from pipeline.fetch import fetch
from pipeline.system.errors import UserError
from tests.helpers.memory import peak

limits = dict(connect_timeout=2.0, read_timeout=0.5, retries=1)
settings = Fetch(total_timeout=1.5, max_bytes=10**8, **limits)
files = {
    part: File(name=part.replace("_", "-"))
    for part in ("train_images", "train_labels", "test_images", "test_labels")
}
get = lambda url: fetch(
    Data(name="tiny", mirrors=[url], files=Files(**files)), settings, Path("raw")
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
    urls = [f"{bad.url}/{name.replace(' ', '-')}" for name in bombs]
    grown = json.loads(memory.run(code, good.url, *urls, folder=tmp_path)[-1])
    assert len(grown) == len(bombs)
    assert max(grown.values()) < 100, f"megabytes: {grown}"
    assert files_in(tmp_path / "raw") == CONTENTS


def test_folder_is_relative_to_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATA_MIRROR", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    tiny.write_raw(tmp_path / "copy", tiny.split(30), tiny.split(12, seed=1))
    fetch(data_set("copy"), SETTINGS, tmp_path / "raw")
    assert files_in(tmp_path / "raw") == CONTENTS


def test_file_is_stored_and_its_digest_returned(tmp_path: Path, mirrors: list[Mirror]) -> None:
    data = data_set(mirrors[1].url, pinned=False)
    file, target = data.files.train_images, tmp_path / "images"
    with open_session(retries=0) as session:
        digest = store_file(mirrors[1].url, file, 3, data, SETTINGS, session, target)
        assert digest == hashlib.sha256(IMAGES).hexdigest()
        assert target.read_bytes() == IMAGES
        with pytest.raises(MirrorError, match=r"^has 3 dimensions, not 1: it holds images"):
            store_file(mirrors[1].url, file, 1, data, SETTINGS, session, tmp_path / "labels")
    assert files_in(tmp_path) == {"images": IMAGES}


def test_server_is_asked_not_to_compress(tmp_path: Path, mirrors: list[Mirror]) -> None:
    good = mirrors[1].replies["train-images.gz"]
    encodings = []

    def note(request: BaseHTTPRequestHandler) -> None:
        encodings.append(request.headers["Accept-Encoding"])
        good(request)

    mirrors[1].replies["train-images.gz"] = note
    fetch(data_set(mirrors[1].url), SETTINGS, tmp_path)
    assert encodings == ["identity"]
