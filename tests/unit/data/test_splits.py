import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.data.splits import (
    check_class_names,
    data_digest,
    is_prepared,
    load_split,
    load_stats,
    save_split,
)
from pipeline.system.errors import UserError
from tests.helpers import tiny


def test_loaded_split_equals_the_saved_one(tmp_path: Path) -> None:
    save_split(tmp_path, "train", tiny.split(9))
    loaded = load_split(tmp_path, "train")
    np.testing.assert_array_equal(loaded.images, tiny.split(9).images, strict=True)
    np.testing.assert_array_equal(loaded.labels, tiny.split(9).labels, strict=True)


def test_cut_off_split_is_named(tmp_path: Path) -> None:
    save_split(tmp_path, "train", tiny.split(9))
    path = tmp_path / "train_images.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"train_images\.npy"):
        load_split(tmp_path, "train")


def test_error_for_missing_data_names_the_stage_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="dvc repro prepare"):
        load_split(tmp_path, "train")
    with pytest.raises(UserError, match="dvc repro prepare"):
        load_stats(tmp_path)


def test_digest_depends_only_on_the_content(tmp_path: Path) -> None:
    for folder, seed in (("one", 0), ("two", 0), ("three", 1)):
        for name in ("train", "validation"):
            save_split(tmp_path / folder, name, tiny.split(9, seed))
    assert data_digest(tmp_path / "one") == data_digest(tmp_path / "two")
    assert data_digest(tmp_path / "one") != data_digest(tmp_path / "three")
    assert data_digest(tmp_path / "one") != data_digest(tmp_path / "one", ["train"])


@pytest.mark.parametrize("text", ["{", "[]", "{}", "null", "\0", None], ids=repr)
def test_damaged_stats_are_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "stats.json"
    path.mkdir() if text is None else path.write_text(text)
    with pytest.raises(UserError, match=r"stats\.json is damaged: .*; run `dvc repro -f prepare`$"):
        load_stats(tmp_path)


def saved(array: NDArray[Any]) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


DAMAGED = {
    "truncated": saved(np.zeros(99, np.uint8))[:150],
    "empty": b"",
    "text": b"labels",
    "half a head": b"\x93NUMPY",
    "a pickle": b"\x80\x04N.",
    "too few": saved(np.zeros(3, np.uint8)),
    "floats": saved(np.zeros(9)),
    "a table": saved(np.zeros((9, 9), np.uint8)),
    "folder": None,
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_labels_are_named(tmp_path: Path, content: bytes | None) -> None:
    save_split(tmp_path, "train", tiny.split(9))
    path = tmp_path / "train_labels.npy"
    path.unlink()
    path.mkdir() if content is None else path.write_bytes(content)
    message = r"train_labels\.npy is damaged: [^\n]+; run `dvc repro -f prepare`$"
    with pytest.raises(UserError, match=message):
        load_split(tmp_path, "train")
    if content is None:
        with pytest.raises(UserError, match=message):
            data_digest(tmp_path, ["train"])


def test_digest_of_missing_data_names_the_file(tmp_path: Path) -> None:
    save_split(tmp_path, "train", tiny.split(9))
    with pytest.raises(
        UserError, match=r"validation_images\.npy is missing: run `dvc repro prepare`"
    ):
        data_digest(tmp_path)


def test_folder_is_prepared_once_it_has_its_last_file(tmp_path: Path) -> None:
    save_split(tmp_path, "train", tiny.split(9))
    assert not is_prepared(tmp_path)
    (tmp_path / "stats.json").write_text("{}")
    assert is_prepared(tmp_path)


@pytest.mark.parametrize("names", [[], ["a"], ["a", "b", "c", "d"]])
def test_there_is_a_name_for_each_class(names: list[str]) -> None:
    check_class_names(None, 3)
    check_class_names(["a", "b", "c"], 3)
    with pytest.raises(UserError, match=f"{len(names)} names for the 3 classes"):
        check_class_names(names, 3)
