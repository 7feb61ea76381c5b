from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.augment import Affine
from pipeline.data.batches import eval_batches, train_batches
from pipeline.data.splits import Split


def numbered(count: int) -> Split:
    """Each pixel of image i is i + 1, so that an image in a batch can be recognised."""
    numbers = np.arange(1, count + 1, dtype=np.uint8)
    return Split(np.broadcast_to(numbers[:, None, None], (count, 6, 5)).copy(), numbers)


def collect(split: Split, **settings: Any) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """The batches as numpy arrays."""
    defaults = {"batch_size": 4, "epochs": 3, "order_seed": 1, "augment_seed": 2}
    return [(x.numpy(), y.numpy()) for x, y in train_batches(split, **{**defaults, **settings})]


def test_each_epoch_has_every_image_once_in_another_order() -> None:
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


def test_order_depends_on_its_seed() -> None:
    one, two, three = (
        np.concatenate([y for _, y in collect(numbered(20), epochs=1, order_seed=seed)]).tolist()
        for seed in (1, 1, 2**32 - 1)
    )
    assert one == two
    assert one != three


@pytest.mark.parametrize("augment", [None, Affine(shift=2, rotation=20.0, scale=0.2)])
def test_later_first_epoch_gives_the_same_batches(augment: Affine | None) -> None:
    whole = collect(numbered(10), augment=augment)
    rest = collect(numbered(10), augment=augment, first_epoch=2)
    assert len(rest) == 3
    for (x, y), (late_x, late_y) in zip(whole[6:], rest, strict=True):
        np.testing.assert_array_equal(x, late_x)
        np.testing.assert_array_equal(y, late_y)


def test_augmentation_does_not_depend_on_the_order_or_the_batch_size() -> None:
    augment = Affine(shift=2, rotation=20.0, scale=0.2)

    def by_image(**settings: int) -> dict[int, bytes]:
        batches = collect(numbered(10), epochs=1, augment=augment, **settings)
        return {int(n): image.tobytes() for x, y in batches for image, n in zip(x, y, strict=True)}

    assert by_image() == by_image(order_seed=7) == by_image(batch_size=3)
    assert by_image() != by_image(augment_seed=7)


def test_augmentation_differs_between_epochs() -> None:
    batches = collect(numbered(10), batch_size=10, epochs=2, augment=Affine(shift=2))
    first, second = (x[np.argsort(y)] for x, y in batches)
    assert (first != second).any()


def test_eval_batches_keep_the_order() -> None:
    batches = list(eval_batches(numbered(10), batch_size=4))
    assert [len(y) for _, y in batches] == [4, 4, 2]
    assert np.concatenate([y for _, y in batches]).tolist() == list(range(1, 11))
