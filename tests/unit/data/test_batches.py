from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.data.batches import Batch, Epoch
from pipeline.data.splits import Split, load_split, save_split


def numbered(count: int) -> Split:
    """Each pixel of image i is i + 1, so that an image in a batch can be recognised."""
    numbers = np.arange(1, count + 1, dtype=np.uint8)
    return Split(np.broadcast_to(numbers[:, None, None], (count, 6, 5)).copy(), numbers)


def collect(split: Split, size: int = 4, number: int = 0, order: int = 1) -> list[Batch]:
    """The batches of an epoch."""
    epoch = Epoch(split, number, order_seed=order, augment_seed=2, draws=3)
    batches = []
    while len((batch := epoch.take(size))[1]):
        batches.append(batch)
    return batches


def order_of(batches: list[Batch]) -> list[int]:
    return np.concatenate([labels for _, labels, _ in batches]).tolist()


def draws_of(batches: list[Batch]) -> NDArray[np.float32]:
    return np.concatenate([draws for _, _, draws in batches])


def test_each_epoch_has_every_image_once_in_another_order() -> None:
    epochs = [collect(numbered(10), number=number) for number in range(3)]
    for batches in epochs:
        assert [len(labels) for _, labels, _ in batches] == [4, 4, 2]
        assert sorted(order_of(batches)) == list(range(1, 11))
    assert len({tuple(order_of(batches)) for batches in epochs}) == 3


def test_image_and_label_stay_together() -> None:
    for images, labels, draws in collect(numbered(10)):
        assert images.dtype == np.uint8
        assert labels.dtype == np.int32
        assert draws.shape == (len(labels), 3)
        np.testing.assert_array_equal(images, np.broadcast_to(labels[:, None, None], images.shape))


def test_order_depends_on_its_seed() -> None:
    one, two, three = (order_of(collect(numbered(20), order=order)) for order in (1, 1, 2**32 - 1))
    assert one == two
    assert one != three


def test_random_numbers_are_uniform_and_differ_between_epochs_and_images() -> None:
    split = Split(np.zeros((5000, 1, 1), np.uint8), np.zeros(5000, np.uint8))
    first, second = (draws_of(collect(split, 1000, number)) for number in (0, 1))
    assert first.dtype == np.float32
    assert len(np.unique(np.concatenate([first, second]))) > 0.99 * 2 * first.size
    assert (first >= 0).all()
    assert (first < 1).all()
    np.testing.assert_allclose(np.histogram(first, 4, (0, 1))[0] / first.size, 0.25, atol=0.02)


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_size_of_the_batches_changes_neither_order_nor_random_numbers(size: int) -> None:
    one, other = collect(numbered(10)), collect(numbered(10), size)
    assert order_of(one) == order_of(other)
    np.testing.assert_array_equal(draws_of(one), draws_of(other))


def test_images_are_read_from_the_file_when_they_are_taken(tmp_path: Path) -> None:
    save_split(tmp_path, "train", numbered(10))
    split = load_split(tmp_path, "train")
    assert isinstance(split.images, np.memmap)
    images, labels, _ = Epoch(split, 0, 1, 2, 0).take(4)
    assert not isinstance(images, np.memmap)
    assert images[:, 0, 0].tolist() == labels.tolist()
