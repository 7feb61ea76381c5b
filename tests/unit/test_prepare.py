import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from pipeline.config.schema import Prepare
from pipeline.data import idx
from pipeline.data.splits import Split, load_split
from pipeline.prepare import prepare, stratified
from pipeline.system.errors import UserError
from tests.helpers import tiny
from tests.helpers.commands import assert_error, assert_help
from tests.helpers.configs import MakeConfig, changed
from tests.helpers.mirrors import files_in

LIMITS = Prepare(
    seed=0,
    validation_fraction=0.2,
    max_blank_fraction=0.0,
    max_duplicate_fraction=0.0,
    max_leaked_fraction=0.0,
    min_class_fraction=0.2,
)
LABELS = hnp.arrays(np.uint8, st.integers(4, 80), elements=st.integers(0, 4)).filter(
    lambda labels: min(np.unique(labels, return_counts=True)[1]) >= 2
)
FRACTIONS = st.floats(0.01, 0.99)


@given(LABELS, FRACTIONS, st.integers(0, 2**32 - 1))
def test_same_share_of_each_class_is_chosen(
    labels: NDArray[np.uint8], fraction: float, seed: int
) -> None:
    chosen = stratified(labels, fraction, seed)
    assert chosen.shape == labels.shape
    for label in np.unique(labels):
        count, of = int(chosen[labels == label].sum()), int((labels == label).sum())
        assert 1 <= count <= of - 1
        assert abs(count - fraction * of) <= 1
    np.testing.assert_array_equal(chosen, stratified(labels, fraction, seed))


def test_another_seed_chooses_other_images() -> None:
    labels = tiny.split(60).labels
    assert (stratified(labels, 0.5, 0) != stratified(labels, 0.5, 1)).any()


def test_class_of_one_image_cannot_be_split() -> None:
    with pytest.raises(UserError, match="class 7"):
        stratified(np.array([1, 1, 7], np.uint8), 0.5, 0)


def test_splits_hold_every_image_once(prepared: Path) -> None:
    given_, test = tiny.split(150), tiny.split(60, seed=1)
    parts = [load_split(prepared, name) for name in ("train", "validation")]
    assert [len(part.labels) for part in parts] == [120, 30]
    pairs = [
        (image.tobytes(), int(label))
        for part in parts
        for image, label in zip(part.images, part.labels, strict=True)
    ]
    # The images are all different: equal sets of equal size are disjoint splits.
    assert len(pairs) == len(set(pairs)) == 150
    assert set(pairs) == {
        (i.tobytes(), int(n)) for i, n in zip(given_.images, given_.labels, strict=True)
    }
    np.testing.assert_array_equal(load_split(prepared, "test").images, test.images)
    np.testing.assert_array_equal(load_split(prepared, "test").labels, test.labels)


def test_stats_hold_sizes_and_counts(prepared: Path) -> None:
    stats = json.loads((prepared / "stats.json").read_text())
    images = tiny.split(150).images
    assert (stats["height"], stats["width"], stats["num_classes"]) == (9, 8, 3)
    assert stats["mean"] == pytest.approx(images.mean(), abs=1e-6)
    assert stats["std"] == pytest.approx(images.std(), abs=1e-6)
    assert stats["images"] == {"train": 120, "validation": 30, "test": 60}
    assert stats["classes"]["validation"] == [10, 10, 10]
    assert stats["blank"] == {"training": 0, "test": 0}
    assert stats["duplicates"] == {"training": 0, "test": 0, "across": 0}


def test_memory_grows_by_a_few_bytes_for_each_image(tmp_path: Path) -> None:
    """Six million images then need little more memory than 60,000."""

    def peak(images: int) -> int:
        """The most bytes that `prepare` allocates. Mapped files do not count."""
        raw = tiny.write_raw(tmp_path / f"raw{images}", tiny.split(images), tiny.split(60, seed=1))
        tracemalloc.start()
        try:
            prepare(tiny.DATA, LIMITS, raw, tmp_path / f"prepared{images}")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert (peak(300_000) - peak(100_000)) / 200_000 < 20


def test_equal_seeds_give_equal_bytes_and_other_seeds_other_bytes(tmp_path: Path) -> None:
    raw = tiny.write_raw(tmp_path / "raw", tiny.split(30), tiny.split(12, seed=1))
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        prepare(tiny.DATA, changed(LIMITS, seed=seed), raw, tmp_path / name)
    one, two, three = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("one", "two", "three")
    )
    assert one == two
    assert one["train_images.npy"] != three["train_images.npy"]
    assert one["test_images.npy"] == three["test_images.npy"]


TRAINING, TEST = tiny.split(30), tiny.split(12, seed=1)


def with_image(split: Split, index: int, image: NDArray[np.uint8] | int) -> Split:
    images = split.images.copy()
    images[index] = image
    return Split(images, split.labels)


def with_limit(name: str, value: float) -> Prepare:
    changes: dict[str, Any] = {name: value}
    return changed(LIMITS, **changes)


def with_labels(split: Split, labels: NDArray[np.uint8]) -> Split:
    return Split(split.images, labels.astype(np.uint8))


@pytest.mark.parametrize(
    ("training", "test", "limit", "share"),
    [
        (with_image(TRAINING, 3, 9), TEST, "max_blank_fraction", 1 / 30),
        (TRAINING, with_image(TEST, 3, 9), "max_blank_fraction", 1 / 12),
        (with_image(TRAINING, 3, TRAINING.images[0]), TEST, "max_duplicate_fraction", 1 / 30),
        (TRAINING, with_image(TEST, 3, TEST.images[0]), "max_duplicate_fraction", 1 / 12),
        (TRAINING, with_image(TEST, 3, TRAINING.images[0]), "max_leaked_fraction", 1 / 12),
    ],
    ids=["blank", "blank test", "repeated", "repeated test", "leaked"],
)
def test_share_above_its_limit_is_refused_and_one_at_the_limit_is_not(
    tmp_path: Path, training: Split, test: Split, limit: str, share: float
) -> None:
    raw = tiny.write_raw(tmp_path / "raw", training, test)
    with pytest.raises(UserError, match=rf"^1 of \d+ .*prepare\.{limit}"):
        prepare(tiny.DATA, with_limit(limit, share * 0.99), raw, tmp_path / "prepared")
    assert not (tmp_path / "prepared").exists()
    stats = prepare(tiny.DATA, with_limit(limit, share), raw, tmp_path / "prepared")
    counted = [*stats["blank"].values(), *stats["duplicates"].values()]
    assert sum(counted) == 1


@pytest.mark.parametrize(
    ("training", "test", "message"),
    [
        (with_labels(TRAINING, TRAINING.labels // 2), TEST, "class 2 has 0 of 30 training"),
        (TRAINING, with_labels(TEST, TEST.labels * 0), "class 1 has 0 of 12 test"),
        (TRAINING, with_labels(TEST, TEST.labels + 1), "test label 3 of image 2 "),
        (TRAINING, tiny.split(12, shape=(8, 9)), "9 × 8, test images 8 × 9"),
        (Split(TRAINING.images[:-1], TRAINING.labels), TEST, "29 images.*30 labels.*data.files"),
        (Split(TRAINING.images[:0], TRAINING.labels[:0]), TEST, "no images in it"),
        (Split(TRAINING.images[:, 0], TRAINING.labels), TEST, "has 2 dimensions, not 3"),
        (Split(TRAINING.images, TRAINING.images), TEST, "has 3 dimensions, not 1"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(
    tmp_path: Path, cfg: MakeConfig, training: Split, test: Split, message: str
) -> None:
    raw = tiny.write_raw(tmp_path / "raw", training, test)
    with pytest.raises(UserError, match=message):
        prepare(changed(tiny.DATA, num_classes=3), LIMITS, raw, tmp_path / "prepared")
    assert not (tmp_path / "prepared").exists()


def write_contents(folder: Path, **contents: bytes) -> Path:
    """Write the tiny data set with other contents of some files, such as `train_labels`."""
    tiny.write_raw(folder, TRAINING, TEST)
    for name, content in contents.items():
        (folder / name.replace("_", "-")).write_bytes(content)
    return folder


def test_transposed_images_with_labels_from_one_give_the_same_prepared_data(tmp_path: Path) -> None:
    expected, found = tmp_path / "expected", tmp_path / "found"
    raw = tiny.write_raw(tmp_path / "upright", TRAINING, TEST)
    prepare(tiny.DATA, LIMITS, raw, expected)
    parts = {"train": TRAINING, "test": TEST}
    images = {f"{k}_images": idx.dump(s.images.transpose(0, 2, 1)) for k, s in parts.items()}
    labels = {f"{k}_labels": idx.dump(s.labels + np.uint8(1)) for k, s in parts.items()}
    raw = write_contents(tmp_path / "emnist", **images, **labels)
    prepare(changed(tiny.DATA, transposed=True, first_label=1), LIMITS, raw, found)
    assert files_in(found) == files_in(expected)


@pytest.mark.parametrize(
    ("element", "columns"),
    [(np.int8, 0), (np.int16, 0), (np.int32, 0), (np.uint8, 1), (np.int32, 1), (np.int32, 8)],
)
def test_labels_of_integers_give_the_same_prepared_data(
    tmp_path: Path, element: type, columns: int
) -> None:
    labels = {"train_labels": TRAINING.labels, "test_labels": TEST.labels}
    stored = {
        name: np.column_stack([each, *[each + 90] * (columns - 1)]) if columns else each
        for name, each in labels.items()
    }
    raw = tiny.write_raw(tmp_path / "bytes", TRAINING, TEST)
    prepare(tiny.DATA, LIMITS, raw, tmp_path / "expected")
    contents = {name: idx.dump(each.astype(element)) for name, each in stored.items()}
    raw = write_contents(tmp_path / "integers", **contents)
    prepare(tiny.DATA, LIMITS, raw, tmp_path / "found")
    assert files_in(tmp_path / "found") == files_in(tmp_path / "expected")


def test_label_that_cannot_be_a_class_is_named_with_its_file(tmp_path: Path) -> None:
    raw = write_contents(tmp_path, test_labels=idx.dump(np.full(12, -3, np.int32)))
    with pytest.raises(UserError, match="test-labels: label -3 of image 0 is negative"):
        prepare(tiny.DATA, LIMITS, raw, tmp_path / "prepared")


def test_labels_from_one_are_the_named_cause(tmp_path: Path) -> None:
    raw = tiny.write_raw(
        tmp_path, with_labels(TRAINING, TRAINING.labels + 1), with_labels(TEST, TEST.labels + 1)
    )
    message = "no image has label 0: the labels are 1 to 3; set data.first_label: 1"
    with pytest.raises(UserError, match=f"^{message}$"):
        prepare(tiny.DATA, LIMITS, raw, tmp_path / "prepared")


def test_class_of_one_image_is_named_by_its_label(tmp_path: Path) -> None:
    labels = np.array([*[5, 6] * 14, 5, 7], np.uint8)
    raw = tiny.write_raw(
        tmp_path, with_labels(TRAINING, labels), with_labels(TEST, labels[-len(TEST.labels) :])
    )
    data, settings = changed(tiny.DATA, first_label=5), changed(LIMITS, min_class_fraction=0.0)
    with pytest.raises(UserError, match="class 7 has one training image"):
        prepare(data, settings, raw, tmp_path / "prepared")


def test_wrong_number_of_names_is_refused_before_training(tmp_path: Path) -> None:
    raw = tiny.write_raw(tmp_path, TRAINING, TEST)
    with pytest.raises(UserError, match="2 names for the 3 classes"):
        prepare(changed(tiny.DATA, class_names=["a", "b"]), LIMITS, raw, tmp_path / "prepared")


def test_rare_class_is_refused(tmp_path: Path) -> None:
    raw = tiny.write_raw(tmp_path, TRAINING, TEST)
    with pytest.raises(UserError, match=r"min_class_fraction is 0\.34"):
        prepare(tiny.DATA, changed(LIMITS, min_class_fraction=0.34), raw, tmp_path / "prepared")


def test_missing_and_malformed_files_are_named(tmp_path: Path) -> None:
    raw = tiny.write_raw(tmp_path, TRAINING, TEST)
    (raw / "test-labels").write_bytes(idx.dump(TEST.labels)[:-1])
    with pytest.raises(UserError, match="test-labels: IDX file of 12 has 19 bytes, not 20"):
        prepare(tiny.DATA, LIMITS, raw, tmp_path / "prepared")
    (raw / "test-labels").unlink()
    with pytest.raises(UserError, match="test-labels is missing: run `dvc repro fetch`"):
        prepare(tiny.DATA, LIMITS, raw, tmp_path / "prepared")


def test_help_says_what_the_stage_does(tmp_path: Path) -> None:
    assert_help("prepare", tmp_path, "validation images", "params.yaml")


def test_missing_composed_file_is_one_line(tmp_path: Path) -> None:
    assert_error("prepare", tmp_path, message="composed.yaml is missing: run `dvc repro compose`")
