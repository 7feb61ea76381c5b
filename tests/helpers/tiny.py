"""A tiny data set, generated: the class is the height at which an image has a bright bar."""

from pathlib import Path

import numpy as np

from pipeline.config.schema import Data, File, Files
from pipeline.data import idx
from pipeline.data.splits import Split

CLASSES = 3
SHAPE = (9, 8)
FILES = Files(
    train_images=File(name="train-images"),
    train_labels=File(name="train-labels"),
    test_images=File(name="test-images"),
    test_labels=File(name="test-labels"),
)
DATA = Data(name="tiny", mirrors=["none"], files=FILES)


def split(count: int, seed: int = 0, shape: tuple[int, int] = SHAPE) -> Split:
    """Noise with a bar. The classes take turns, and no two images are equal."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % CLASSES).astype(np.uint8)
    images = rng.integers(0, 100, (count, *shape), np.uint8)
    bar = shape[0] // CLASSES
    for image, label in zip(images, labels, strict=True):
        image[label * bar : (label + 1) * bar] += 150
    return Split(images, labels)


def contents(training: Split, test: Split) -> dict[str, bytes]:
    """The four IDX files by name."""
    return {
        "train-images": idx.dump(training.images),
        "train-labels": idx.dump(training.labels),
        "test-images": idx.dump(test.images),
        "test-labels": idx.dump(test.labels),
    }


def write_raw(folder: Path, training: Split, test: Split) -> Path:
    """Write the four IDX files, as `fetch` stores them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents(training, test).items():
        (folder / name).write_bytes(content)
    return folder
