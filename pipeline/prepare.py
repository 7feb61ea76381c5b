"""Check the raw data, split off validation images, and store everything as .npy files."""

import math
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config.paths import COMPOSED
from pipeline.config.schema import Data, Prepare
from pipeline.config.yaml_files import load_config
from pipeline.data import idx
from pipeline.data.labels import check_classes, to_classes
from pipeline.data.splits import Split, check_class_names, parts, save_split
from pipeline.system import cli
from pipeline.system.errors import UserError
from pipeline.system.files import remove_parts, write_json


def prepare(data: Data, settings: Prepare, raw: Path, prepared: Path) -> dict[str, Any]:
    """Turn four IDX files into train, validation and test arrays.

    Returns:
        The content of `stats.json`: sizes, class counts, and the counts of the checks.

    Raises:
        UserError: for a malformed file, files that do not belong together, or an exceeded limit.
    """
    remove_parts(prepared)
    files = data.files
    training = _read(raw / files.train_images.name, raw / files.train_labels.name, data)
    test = _read(raw / files.test_images.name, raw / files.test_labels.name, data)
    if training.images.shape[1:] != test.images.shape[1:]:
        raise UserError(
            f"training images are {_size(training)}, test images {_size(test)} pixels: "
            "they do not belong together"
        )
    num_classes = check_classes(training.labels, test.labels, data, settings.min_class_fraction)
    # Fail here, before the training.
    check_class_names(data.class_names, num_classes)
    stats = {
        "height": training.images.shape[1],
        "width": training.images.shape[2],
        "num_classes": num_classes,
        **_pixels(training.images),
        **_check_images(training, test, settings),
    }
    labels = training.labels + np.uint8(data.first_label)  # an error names them as the files do
    chosen = stratified(labels, settings.validation_fraction, settings.seed)
    save_split(prepared, "train", training, ~chosen)
    save_split(prepared, "validation", training, chosen)
    save_split(prepared, "test", test)
    labels_of = {
        "train": training.labels[~chosen],
        "validation": training.labels[chosen],
        "test": test.labels,
    }
    stats["images"] = {name: len(labels) for name, labels in labels_of.items()}
    stats["classes"] = {
        name: np.bincount(labels, minlength=num_classes).tolist()
        for name, labels in labels_of.items()
    }
    write_json(prepared / "stats.json", stats)
    return stats


def _pixels(images: NDArray[np.uint8]) -> dict[str, float]:
    """The mean and the standard deviation of all pixels."""
    counts = np.zeros(256, np.int64)
    for rows in parts(len(images)):
        counts += np.bincount(images[rows].ravel(), minlength=256)
    values = np.arange(256)
    mean = float(counts @ values / images.size)
    deviation = math.sqrt(counts @ (values - mean) ** 2 / images.size)
    return {"mean": round(mean, 6), "std": round(deviation, 6)}


def _check_images(training: Split, test: Split, settings: Prepare) -> dict[str, Any]:
    """Check the limits on blank and repeated images; return the counts for `stats.json`."""
    counts: dict[str, Any] = {"blank": {}, "duplicates": {}}
    digests = {}
    for name, split in (("training", training), ("test", test)):
        blank, digests[name] = _scan(split.images)
        _check_share(f"{name} images are blank", blank, split, settings, "max_blank_fraction")
        duplicates = int((digests[name][1:] == digests[name][:-1]).sum())
        _check_share(
            f"{name} images are repeated", duplicates, split, settings, "max_duplicate_fraction"
        )
        counts["blank"][name] = blank
        counts["duplicates"][name] = duplicates
    # The only place where a test image can be among the sorted training images; the last place
    # stands for all beyond it. np.isin would need far more memory.
    places = np.searchsorted(digests["training"][:-1], digests["test"])
    leaked = int((digests["training"][places] == digests["test"]).sum())
    _check_share(
        "test images are also training images", leaked, test, settings, "max_leaked_fraction"
    )
    counts["duplicates"]["across"] = leaked
    return counts


def stratified(labels: NDArray[np.integer[Any]], fraction: float, seed: int) -> NDArray[np.bool_]:
    """Choose the same share of each class at random: at least one image, but never all of them.

    Returns:
        A mask of shape (N,), true where an image is chosen.
    """
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            raise UserError(f"class {label} has one training image, so none for validation")
        count = min(max(round(len(members) * fraction), 1), len(members) - 1)
        chosen[rng.permutation(members)[:count]] = True
    return chosen


def _read(images_path: Path, labels_path: Path, data: Data) -> Split:
    """Read two IDX files as upright images, and classes from 0."""
    images = _parse(images_path, 3)
    labels = _parse(labels_path, 1)
    if len(images) != len(labels):
        raise UserError(
            f"{images_path} has {len(images)} images, {labels_path.name} {len(labels)} labels: "
            "they do not belong together; check data.files"
        )
    if data.transposed:
        images = images.transpose(0, 2, 1)
    try:
        return Split(images, to_classes(labels, data.first_label))
    except ValueError as error:
        raise UserError(f"{labels_path}: {error}") from None


def _parse(path: Path, rank: int) -> NDArray[Any]:
    try:
        # Mapped into memory, so that only a part of it is read at a time.
        content = np.memmap(path, np.uint8, "r").data if path.stat().st_size else b""
        array = idx.parse(content)
        idx.check_content(array.dtype, array.shape, rank)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `dvc repro fetch` first") from None
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    if array.size == 0:
        what = "images" if rank == 3 else "labels"
        raise UserError(f"{path}: no {what} in it; its dimensions are {array.shape}")
    return array


def _check_share(what: str, count: int, split: Split, settings: Prepare, limit: str) -> None:
    total = len(split.labels)
    if count > getattr(settings, limit) * total:
        raise UserError(f"{count} of {total} {what}: prepare.{limit} is {getattr(settings, limit)}")


def _scan(images: NDArray[np.uint8]) -> tuple[int, NDArray[np.uint64]]:
    """The number of blank images, and the digests of all images in ascending order, shape (N,).

    Equal images have equal digests. Of six million different images, two have the same digest with
    a probability of one in a million.
    """
    blank = 0
    digests = np.empty(len(images), np.uint64)
    for rows in parts(len(images)):
        flat = np.ascontiguousarray(images[rows]).reshape(len(images[rows]), -1)
        blank += int((np.ptp(flat, axis=1) == 0).sum())
        content = b"".join(blake2b(image.data, digest_size=8).digest() for image in flat)
        digests[rows] = np.frombuffer(content, np.uint64)
    digests.sort()
    return blank, digests


def _size(split: Split) -> str:
    return f"{split.images.shape[1]} × {split.images.shape[2]}"


def main() -> None:
    """Run the stage: read data/raw, write data/prepared."""
    cli.no_arguments(__doc__)
    cfg = load_config(Path(COMPOSED))
    stats = prepare(cfg.data, cfg.prepare, Path("data/raw"), Path("data/prepared"))
    counts = ", ".join(f"{count} {name}" for name, count in stats["images"].items())
    print(
        f"{cfg.data.name}: {counts} images of {stats['height']} × {stats['width']} pixels, "
        f"{stats['num_classes']} classes"
    )


if __name__ == "__main__":
    cli.run(main)
