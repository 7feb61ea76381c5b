from pathlib import Path

import numpy as np
import pytest

from pipeline.data.splits import data_digest, load_split, load_stats, save_split
from pipeline.system.errors import UserError
from tests.helpers import tiny


def test_saved_split_comes_back(tmp_path: Path) -> None:
    save_split(tmp_path, "train", tiny.split(9))
    back = load_split(tmp_path, "train")
    np.testing.assert_array_equal(back.images, tiny.split(9).images, strict=True)
    np.testing.assert_array_equal(back.labels, tiny.split(9).labels, strict=True)


@pytest.mark.parametrize("content", [b"", b"text", b"\x93NUMPY", b"\x80\x04N."])
def test_damaged_split_is_named(tmp_path: Path, content: bytes) -> None:
    save_split(tmp_path, "train", tiny.split(9))
    (tmp_path / "train_labels.npy").write_bytes(content)
    with pytest.raises(UserError, match=r"train_labels\.npy: .*dvc repro -f prepare"):
        load_split(tmp_path, "train")


def test_cut_off_split_is_named(tmp_path: Path) -> None:
    save_split(tmp_path, "train", tiny.split(9))
    path = tmp_path / "train_images.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"train_images\.npy"):
        load_split(tmp_path, "train")


def test_missing_data_say_which_stage_makes_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="dvc repro prepare"):
        load_split(tmp_path, "train")
    with pytest.raises(UserError, match="dvc repro prepare"):
        load_stats(tmp_path)


def test_digest_changes_with_the_content_alone(tmp_path: Path) -> None:
    for folder, seed in (("one", 0), ("two", 0), ("three", 1)):
        for name in ("train", "validation"):
            save_split(tmp_path / folder, name, tiny.split(9, seed))
    assert data_digest(tmp_path / "one") == data_digest(tmp_path / "two")
    assert data_digest(tmp_path / "one") != data_digest(tmp_path / "three")
    assert data_digest(tmp_path / "one") != data_digest(tmp_path / "one", ["train"])
