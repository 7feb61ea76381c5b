"""Check the raw data, split off validation images, and store everything as .npy files."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config.schema import Data, Prepare
from pipeline.config.yaml_files import load_config
from pipeline.data import idx
from pipeline.data.splits import Split, save_split
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
    training = _read(raw / files.train_images.name, raw / files.train_labels.name)
    test = _read(raw / files.test_images.name, raw / files.test_labels.name)
    if training.images.shape[1:] != test.images.shape[1:]:
        raise UserError(
            f"training images are {_size(training)}, test images {_size(test)} pixels: "
            "they do not belong together"
        )
    num_classes = data.num_classes or int(training.labels.max()) + 1
    stats = {
        "height": training.images.shape[1],
        "width": training.images.shape[2],
        "num_classes": num_classes,
        "mean": round(float(training.images.mean()), 6),
        "std": round(float(training.images.std()), 6),
        "blank": {},
        "duplicates": {},
    }
    for name, split in (("training", training), ("test", test)):
        _check_labels(name, split.labels, num_classes, settings.min_class_fraction)
        blank = int((np.ptp(split.images.reshape(len(split.images), -1), axis=1) == 0).sum())
        _check_share(f"{name} images are blank", blank, split, settings, "max_blank_fraction")
        duplicates = len(split.images) - len(np.unique(_digests(split.images)))
        _check_share(
            f"{name} images are repeated", duplicates, split, settings, "max_duplicate_fraction"
        )
        stats["blank"][name] = blank
        stats["duplicates"][name] = duplicates
    leaked = int(np.isin(_digests(test.images), _digests(training.images)).sum())
    _check_share(
        "test images are also training images", leaked, test, settings, "max_leaked_fraction"
    )
    stats["duplicates"]["across"] = leaked

    chosen = stratified(training.labels, settings.validation_fraction, settings.seed)
    splits = {
        "train": Split(training.images[~chosen], training.labels[~chosen]),
        "validation": Split(training.images[chosen], training.labels[chosen]),
        "test": test,
    }
    for name, split in splits.items():
        save_split(prepared, name, split)
    stats["images"] = {name: len(split.labels) for name, split in splits.items()}
    stats["classes"] = {
        name: np.bincount(split.labels, minlength=num_classes).tolist()
        for name, split in splits.items()
    }
    write_json(prepared / "stats.json", stats)
    return stats


def stratified(labels: NDArray[np.uint8], fraction: float, seed: int) -> NDArray[np.bool_]:
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


def _read(images_path: Path, labels_path: Path) -> Split:
    arrays = []
    for path, rank, what in ((images_path, 3, "images"), (labels_path, 1, "labels")):
        try:
            array = idx.parse(path.read_bytes())
        except FileNotFoundError:
            raise UserError(f"{path} is missing: run `dvc repro fetch` first") from None
        except ValueError as error:
            raise UserError(f"{path}: {error}") from None
        if array.ndim != rank:
            raise UserError(f"{path}: {what} must have {rank} dimensions, not {array.ndim}")
        if array.size == 0:
            raise UserError(f"{path}: no {what} in it; its dimensions are {array.shape}")
        arrays.append(array)
    split = Split(*arrays)
    if len(split.images) != len(split.labels):
        raise UserError(
            f"{images_path} has {len(split.images)} images, {labels_path.name} "
            f"{len(split.labels)} labels: they do not belong together"
        )
    return split


def _check_labels(
    name: str, labels: NDArray[np.uint8], num_classes: int, min_fraction: float
) -> None:
    if labels.max() >= num_classes:
        index = int(np.argmax(labels >= num_classes))
        raise UserError(
            f"{name} label {labels[index]} of image {index} is not below num_classes, {num_classes}"
        )
    counts = np.bincount(labels, minlength=num_classes)
    rarest = int(counts.argmin())
    if counts[rarest] < max(min_fraction * len(labels), 1):
        raise UserError(
            f"class {rarest} has {counts[rarest]} of {len(labels)} {name} images: "
            f"prepare.min_class_fraction is {min_fraction}"
        )


def _check_share(what: str, count: int, split: Split, settings: Prepare, limit: str) -> None:
    total = len(split.labels)
    if count > getattr(settings, limit) * total:
        raise UserError(f"{count} of {total} {what}: prepare.{limit} is {getattr(settings, limit)}")


def _digests(images: NDArray[np.uint8]) -> NDArray[np.void]:
    """The bytes of each image as one element, shape (N,). Equal images give equal elements."""
    flat = np.ascontiguousarray(images.reshape(len(images), -1))
    return flat.view(np.dtype((np.void, flat.shape[1])))[:, 0]


def _size(split: Split) -> str:
    return f"{split.images.shape[1]} × {split.images.shape[2]}"


def main() -> None:
    """Run the stage: read data/raw, write data/prepared."""
    cli.no_arguments(__doc__)
    cfg = load_config(Path("composed.yaml"))
    stats = prepare(cfg.data, cfg.prepare, Path("data/raw"), Path("data/prepared"))
    counts = ", ".join(f"{count} {name}" for name, count in stats["images"].items())
    print(
        f"{cfg.data.name}: {counts} images of {stats['height']} × {stats['width']} pixels, "
        f"{stats['num_classes']} classes"
    )


if __name__ == "__main__":
    cli.run(main)
