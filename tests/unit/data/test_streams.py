"""What else a mirror may send is in test_mirrors.py."""

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.schema import File
from pipeline.data import idx
from pipeline.data.streams import CHUNK, MirrorError, uncompressed, verified

LABELS = idx.dump(np.arange(CHUNK, dtype=np.int32) % 10)  # arrives in several chunks
PINNED = File(name="labels", sha256=hashlib.sha256(LABELS).hexdigest(), bytes=len(LABELS))


@pytest.mark.parametrize("content", [LABELS, gzip.compress(LABELS)], ids=["plain", "gzip"])
@pytest.mark.parametrize("file", [PINNED, File(name="labels")], ids=["pinned", "not pinned"])
def test_file_arrives_unchanged(tmp_path: Path, content: bytes, file: File) -> None:
    (tmp_path / "file").write_bytes(content)
    with (tmp_path / "file").open("rb", buffering=0) as source:
        chunks = list(verified(uncompressed(source), file, 1, len(LABELS)))
    assert b"".join(chunks) == LABELS
    assert len(chunks) > 1


@pytest.mark.parametrize(
    ("content", "rank", "max_bytes", "message"),
    [
        (LABELS[:-1] + b"\1", 1, 10**9, "SHA-256 is"),
        (LABELS[:-1], 1, 10**9, f"ends after {len(LABELS) - 1} of {len(LABELS)} bytes"),
        (LABELS + b"\0", 1, 10**9, f"more than the {len(LABELS)} bytes"),
        (gzip.compress(LABELS)[:-1], 1, 10**9, "not a complete gzip file"),
        (LABELS, 1, len(LABELS) - 1, r"fetch\.max_bytes"),
        (LABELS, 3, 10**9, "it holds labels, not images"),
    ],
)
def test_wrong_file_is_refused(
    tmp_path: Path, content: bytes, rank: int, max_bytes: int, message: str
) -> None:
    (tmp_path / "file").write_bytes(content)
    with (
        (tmp_path / "file").open("rb", buffering=0) as source,
        pytest.raises(MirrorError, match=message),
    ):
        list(verified(uncompressed(source), PINNED, rank, max_bytes))
