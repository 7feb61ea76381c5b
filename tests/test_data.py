from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from numpy.typing import NDArray

from pipeline import data
from pipeline.augment import affine
from pipeline.command import UserError
from pipeline.data import Split


def numbered(count: int) -> Split:
    """Image i holds i + 1 everywhere: what comes out says which image it is."""
    numbers = np.arange(1, count + 1, dtype=np.uint8)
    return Split(np.broadcast_to(numbers[:, None, None], (count, 6, 5)).copy(), numbers)


def collect(split: Split, **settings: Any) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """The batches as numpy arrays."""
    defaults = {"batch_size": 4, "epochs": 3, "order_seed": 1, "augment_seed": 2}
    return [(x.numpy(), y.numpy()) for x, y in data.batches(split, **{**defaults, **settings})]


def test_every_image_comes_once_an_epoch_in_another_order() -> None:
    batches = collect(numbered(10))
    assert [len(y) for _, y in batches] == [4, 4, 2] * 3
    orders = [np.concatenate([y for _, y in batches[i : i + 3]]).tolist() for i in (0, 3, 6)]
    assert [sorted(order) for order in orders] == [list(range(1, 11))] * 3
    assert len({tuple(order) for order in orders}) == 3


def test_image_and_label_stay_together() -> None:
    for x, y in collect(numbered(10)):
        assert x.dtype == np.uint8
        assert y.dtype == np.int32
        np.testing.assert_array_equal(x, np.broadcast_to(y[:, None, None], x.shape))


def test_order_follows_its_seed() -> None:
    one, two, three = (
        np.concatenate([y for _, y in collect(numbered(20), epochs=1, order_seed=seed)]).tolist()
        for seed in (1, 1, 2**32 - 1)
    )
    assert one == two
    assert one != three


@pytest.mark.parametrize("augment", [None, affine(shift=2, rotation=20.0, scale=0.2)])
def test_later_start_sees_what_an_earlier_one_comes_to(augment: affine | None) -> None:
    whole = collect(numbered(10), augment=augment)
    rest = collect(numbered(10), augment=augment, first_epoch=2)
    assert len(rest) == 3
    for (x, y), (late_x, late_y) in zip(whole[6:], rest, strict=True):
        np.testing.assert_array_equal(x, late_x)
        np.testing.assert_array_equal(y, late_y)


def test_augmentation_is_of_the_image_not_of_its_place() -> None:
    augment = affine(shift=2, rotation=20.0, scale=0.2)

    def by_image(**settings: int) -> dict[int, bytes]:
        batches = collect(numbered(10), epochs=1, augment=augment, **settings)
        return {int(n): image.tobytes() for x, y in batches for image, n in zip(x, y, strict=True)}

    assert by_image() == by_image(order_seed=7) == by_image(batch_size=3)
    assert by_image() != by_image(augment_seed=7)


def test_augmentation_is_another_in_each_epoch() -> None:
    batches = collect(numbered(10), batch_size=10, epochs=2, augment=affine(shift=2))
    first, second = (x[np.argsort(y)] for x, y in batches)
    assert (first != second).any()


def test_measuring_keeps_the_order() -> None:
    got = list(data.in_order(numbered(10), batch_size=4))
    assert [len(y) for _, y in got] == [4, 4, 2]
    assert np.concatenate([y for _, y in got]).tolist() == list(range(1, 11))


def test_saved_split_comes_back(tmp_path: Path) -> None:
    data.save_split(tmp_path, "train", tiny.split(9))
    back = data.load_split(tmp_path, "train")
    np.testing.assert_array_equal(back.images, tiny.split(9).images, strict=True)
    np.testing.assert_array_equal(back.labels, tiny.split(9).labels, strict=True)


@pytest.mark.parametrize("content", [b"", b"text", b"\x93NUMPY", b"\x80\x04N."])
def test_damaged_split_is_named(tmp_path: Path, content: bytes) -> None:
    data.save_split(tmp_path, "train", tiny.split(9))
    (tmp_path / "train_labels.npy").write_bytes(content)
    with pytest.raises(UserError, match=r"train_labels\.npy: .*dvc repro -f prepare"):
        data.load_split(tmp_path, "train")


def test_cut_off_split_is_named(tmp_path: Path) -> None:
    data.save_split(tmp_path, "train", tiny.split(9))
    path = tmp_path / "train_images.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"train_images\.npy"):
        data.load_split(tmp_path, "train")


def test_missing_data_say_which_stage_makes_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="dvc repro prepare"):
        data.load_split(tmp_path, "train")
    with pytest.raises(UserError, match="dvc repro prepare"):
        data.load_stats(tmp_path)


def test_digest_changes_with_the_content_alone(tmp_path: Path) -> None:
    for folder, seed in (("one", 0), ("two", 0), ("three", 1)):
        for name in ("train", "validation"):
            data.save_split(tmp_path / folder, name, tiny.split(9, seed))
    assert data.digest(tmp_path / "one") == data.digest(tmp_path / "two")
    assert data.digest(tmp_path / "one") != data.digest(tmp_path / "three")
    assert data.digest(tmp_path / "one") != data.digest(tmp_path / "one", ["train"])
