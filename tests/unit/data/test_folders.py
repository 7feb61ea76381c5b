"""Folders as people have them. The searched name is that of MNIST's training images."""

import gzip
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.schema import File
from pipeline.data import idx
from pipeline.data.folders import find_copy, open_copy
from pipeline.data.streams import MirrorError
from tests.helpers.configs import assert_one_line

NAME = "train-images-idx3-ubyte"
IMAGES, OTHER = (idx.dump(np.full((2, 3, 3), grey, np.uint8)) for grey in (7, 8))
PINNED = hashlib.sha256(IMAGES).hexdigest()
LABELS = idx.dump(np.zeros(2, np.uint8))


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def find(folder: Path, sha256: str | None = None) -> str:
    """The path, below the folder, of the copy that is found."""
    copy = find_copy(folder, File(name=NAME, sha256=sha256), 3, 10**6)
    with open_copy(copy) as source:
        assert source.read() == IMAGES
    return copy.relative_to(folder).as_posix()


def failure(folder: Path, sha256: str | None = None) -> MirrorError:
    with pytest.raises(MirrorError) as error:
        find(folder, sha256)
    assert_one_line(error.value, [])
    return error.value


@pytest.mark.parametrize(
    "path",
    [
        NAME,
        f"{NAME}.gz",
        "train-images.idx3-ubyte",  # Kaggle, 7-Zip
        "train-images.idx3-ubyte.gz",
        "train_images_idx3_ubyte",
        "Train-Images-IDX3-UByte.GZ",
        f"MNIST/raw/{NAME}",  # torchvision
        f"gzip/{NAME}.gz",  # EMNIST
        f"{NAME}/{NAME}",  # Kaggle
        "train-images.idx3-ubyte/train-images.idx3-ubyte",
        f"{NAME}.gz/{NAME}",
        f"{NAME}/data",
        f"archive/MNIST/raw/{NAME}/train-images.idx3-ubyte",
    ],
)
@pytest.mark.parametrize("content", [IMAGES, gzip.compress(IMAGES)], ids=["plain", "gzip"])
def test_file_is_found_where_people_have_it(tmp_path: Path, path: str, content: bytes) -> None:
    write(tmp_path, {path: content, "train-labels-idx1-ubyte": LABELS, "README.md": b"hello"})
    assert find(tmp_path) == find(tmp_path, PINNED) == path


@pytest.mark.parametrize("content", [OTHER, b"not IDX"])
def test_exact_name_in_the_folder_itself_goes_first(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, {NAME: IMAGES, f"old/{NAME}": content, "train-images.idx3-ubyte": content})
    assert find(tmp_path) == NAME


@pytest.mark.parametrize(
    "paths",
    [
        ["MNIST/raw/" + NAME, "MNIST/raw/" + NAME + ".gz"],  # torchvision keeps both
        ["train-images.idx3-ubyte", f"{NAME}/{NAME}"],  # Kaggle
        [NAME, NAME + ".gz"],
    ],
)
def test_equal_copies_are_one_file_and_different_ones_need_a_digest(
    tmp_path: Path, paths: list[str]
) -> None:
    for right in paths:
        write(tmp_path, dict.fromkeys(paths, IMAGES))
        assert find(tmp_path) in paths
        write(tmp_path, dict.fromkeys(paths, OTHER) | {right: gzip.compress(IMAGES)})
        assert find(tmp_path, PINNED) == right
        assert_one_line(failure(tmp_path), [*paths, NAME, "sha256"])


def test_copy_that_is_not_valid_is_no_choice(tmp_path: Path) -> None:
    write(tmp_path, {f"{NAME}.gz": gzip.compress(IMAGES)[:-9], NAME: IMAGES})
    assert find(tmp_path) == NAME
    write(tmp_path, {NAME: LABELS})
    assert_one_line(failure(tmp_path), [f"{NAME}.gz: not a complete gzip", f"{NAME}: has 1 dim"])


def test_only_file_with_another_digest_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"raw/train-images.idx3-ubyte": OTHER})
    parts = ["raw/train-images.idx3-ubyte: SHA-256 is ", f", not {PINNED}"]
    assert_one_line(failure(tmp_path, PINNED), parts)


def test_hidden_and_other_files_are_not_taken(tmp_path: Path) -> None:
    # macOS adds files with such names to archives.
    write(tmp_path, {f"__MACOSX/._{NAME}": OTHER, f".old/{NAME}": OTHER, f"x{NAME}": OTHER})
    write(tmp_path, {"train-labels-idx1-ubyte": OTHER, "t10k-images-idx3-ubyte": OTHER})
    os.mkfifo(tmp_path / NAME)
    (tmp_path / f"{NAME}.gz").symlink_to("nowhere")
    assert_one_line(failure(tmp_path), [f"no {NAME} in it"])


def test_links_to_folders_are_followed_and_circles_end(tmp_path: Path) -> None:
    write(tmp_path, {f"real/raw/{NAME}": IMAGES})
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror/MNIST").symlink_to(tmp_path / "real")
    (tmp_path / "real/circle").symlink_to(tmp_path / "mirror")
    assert find(tmp_path / "mirror") == f"MNIST/raw/{NAME}"


def test_error_lists_what_the_folder_has(tmp_path: Path) -> None:
    write(tmp_path, {f"picture {i:03}.png": b"" for i in range(500)})
    write(tmp_path, {"raw/digits.idx3-ubyte": b"", "new\nline-idx": b""})
    parts = [f"no {NAME} in it", "raw/digits.idx3-ubyte, ", "new\\nline", "picture 000.png"]
    error = failure(tmp_path)
    assert_one_line(error, [*parts, "and 494 more", "data.files"])
    assert len(str(error)) < 400
    write(tmp_path, {"archive.zip": b"PK"})
    assert_one_line(failure(tmp_path), ["archive.zip", "unpack"])


def test_folder_that_is_missing_empty_or_a_file_is_named(tmp_path: Path) -> None:
    assert_one_line(failure(tmp_path / "nowhere"), ["no such folder"])
    (tmp_path / "empty/below").mkdir(parents=True)
    assert_one_line(failure(tmp_path / "empty"), [f"no {NAME} in it", "no files"])
    write(tmp_path, {"archive.zip": b"PK"})
    assert_one_line(failure(tmp_path / "archive.zip"), ["not a folder", "unpack"])


def test_search_has_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {f"1/2/3/4/5/{NAME}": IMAGES})
    assert_one_line(failure(tmp_path), [f"no {NAME} in it"])
    write(tmp_path, {f"1/2/3/4/{NAME}": IMAGES, **{f"0/{i}": b"" for i in range(50)}})
    assert find(tmp_path) == f"1/2/3/4/{NAME}"
    monkeypatch.setattr("pipeline.data.folders._ENTRIES", 50)
    assert_one_line(failure(tmp_path), ["more than 50 files"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    write(tmp_path, {NAME: IMAGES})
    (tmp_path / NAME).chmod(0)
    assert_one_line(failure(tmp_path), ["Permission denied"])
