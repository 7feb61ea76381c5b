import hashlib

import numpy as np

from pipeline.data import idx
from pipeline.data.sample import sample_files
from tests.helpers.configs import MakeConfig


def test_sample_has_the_digests_that_its_config_pins(cfg: MakeConfig) -> None:
    files = cfg("data=mnist_sample").data.files
    contents = sample_files(files)
    for file in (files.train_images, files.train_labels, files.test_images, files.test_labels):
        assert len(contents[file.name]) == file.bytes
        assert hashlib.sha256(contents[file.name]).hexdigest() == file.sha256


def test_sample_has_the_same_share_of_each_digit(cfg: MakeConfig) -> None:
    files = cfg("data=mnist_sample").data.files
    contents = sample_files(files)
    for labels, each in ((files.train_labels, 400), (files.test_labels, 100)):
        assert np.bincount(idx.parse(contents[labels.name])).tolist() == [each] * 10
    assert idx.parse(contents[files.test_images.name]).shape == (1000, 28, 28)
