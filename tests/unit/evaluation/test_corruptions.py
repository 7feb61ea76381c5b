import numpy as np
import pytest

from pipeline.evaluation.corruptions import KINDS, corrupt, robust_accuracies
from tests.helpers.pictures import digits


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_corruption_changes_images_and_repeats(kind: str) -> None:
    images = digits(20)
    before = images.copy()
    changed = corrupt(images, kind)
    assert changed.shape == images.shape
    assert changed.dtype == np.uint8
    np.testing.assert_array_equal(images, before)
    assert all((a != b).any() for a, b in zip(changed, images, strict=True))
    np.testing.assert_array_equal(corrupt(images, kind), changed)
    if kind not in ("blur", "thin", "thick"):  # they draw nothing at random
        equal = corrupt(np.repeat(images[:1], 20, axis=0), kind)
        assert (equal != equal[0]).any(), "each image has its own draws"
    if kind not in ("noise", "contrast"):
        assert changed.max(axis=(1, 2)).min() > 50, "the digit is still there"


@pytest.mark.parametrize("shape", [(3, 28, 20), (3, 8, 8), (3, 64, 64), (3, 2, 2)])
def test_images_of_other_sizes_are_corrupted(shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    for kind in KINDS:
        assert corrupt(images, kind).shape == shape


@pytest.mark.slow
def test_strokes_become_thinner_and_thicker() -> None:
    images = digits(20)
    ink = images.mean()
    assert corrupt(images, "thin").mean() < 0.8 * ink
    assert corrupt(images, "thick").mean() > 1.2 * ink
    assert corrupt(images, "contrast").max() <= 0.4 * 255
    assert 0.2 * ink < corrupt(images, "scale").mean() < 0.6 * ink


@pytest.mark.slow
def test_accuracy_is_that_of_the_answers_to_corrupted_images() -> None:
    images, labels = digits(10), np.arange(10, dtype=np.uint8) % 2
    seen = []

    def answer(given: np.ndarray) -> np.ndarray:
        seen.append(given)
        return np.eye(2, dtype=np.float32)[np.zeros(len(given), int)]

    assert robust_accuracies(answer, images, labels) == dict.fromkeys(KINDS, 0.5)
    for kind, given in zip(KINDS, seen, strict=True):
        np.testing.assert_array_equal(given, corrupt(images, kind))


@pytest.mark.slow
def test_many_images_are_corrupted_in_parts() -> None:
    """Their memory would be ten times that of the images."""
    images = np.zeros((25_000, 2, 2), np.uint8)
    labels = np.arange(25_000) < 20_000
    sizes = []

    def answer(given: np.ndarray) -> np.ndarray:
        sizes.append(len(given))
        return np.eye(2, dtype=np.float32)[np.ones(len(given), int)]

    assert robust_accuracies(answer, images, labels.astype(np.uint8)) == dict.fromkeys(KINDS, 0.8)
    assert sizes == [10_000, 10_000, 5_000] * len(KINDS)
