"""Check the raw data, split off validation images, and store everything as .npy files."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config.schema import Data, Prepare
from pipeline.config.yaml_files import load_config
from pipeline.data import idx
from pipeline.data.labels import check_classes, to_classes
from pipeline.data.splits import Split, check_class_names, save_split
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
    # Otherwise a wrong number of names would stop `evaluate`, after the training.
    check_class_names(data.class_names, num_classes)
    stats = {
        "height": training.images.shape[1],
        "width": training.images.shape[2],
        "num_classes": num_classes,
        "mean": round(float(training.images.mean()), 6),
        "std": round(float(training.images.std()), 6),
        **_check_images(training, test, settings),
    }
    labels = training.labels + np.int64(data.first_label)  # an error names them as the files do
    chosen = stratified(labels, settings.validation_fraction, settings.seed)
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


def _check_images(training: Split, test: Split, settings: Prepare) -> dict[str, Any]:
    """Check the limits on blank and repeated images; return the counts for `stats.json`."""
    counts: dict[str, Any] = {"blank": {}, "duplicates": {}}
    for name, split in (("training", training), ("test", test)):
        blank = int((np.ptp(split.images.reshape(len(split.images), -1), axis=1) == 0).sum())
        _check_share(f"{name} images are blank", blank, split, settings, "max_blank_fraction")
        duplicates = len(split.images) - len(np.unique(_digests(split.images)))
        _check_share(
            f"{name} images are repeated", duplicates, split, settings, "max_duplicate_fraction"
        )
        counts["blank"][name] = blank
        counts["duplicates"][name] = duplicates
    leaked = int(np.isin(_digests(test.images), _digests(training.images)).sum())
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
        images = np.ascontiguousarray(images.transpose(0, 2, 1))
    try:
        return Split(images, to_classes(labels, data.first_label))
    except ValueError as error:
        raise UserError(f"{labels_path}: {error}") from None


def _parse(path: Path, rank: int) -> NDArray[Any]:
    try:
        array = idx.parse(path.read_bytes())
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
