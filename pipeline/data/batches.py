"""Batches of images for training and evaluation, as tf.data datasets."""

from typing import Protocol

import numpy as np
import tensorflow as tf

from pipeline.data.splits import Split


class Augment(Protocol):
    """Changes images, uint8 (B, height, width), by random draws, float32 (B, `draws`) in [0, 1)."""

    draws: int

    def __call__(self, images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor: ...


def train_batches(
    split: Split,
    batch_size: int,
    epochs: int,
    order_seed: int,
    augment_seed: int,
    augment: Augment | None = None,
    first_epoch: int = 0,
) -> tf.data.Dataset:
    """A dataset of `epochs - first_epoch` epochs. Each has every image once, in a new order.

    The order, and the augmentation of each image, depend only on (seed, epoch, index). So a resumed
    training sees the same batches as an uninterrupted one.

    Args:
        split: the training images and labels.
        batch_size: images per step; the last step of an epoch has the remaining images.
        epochs: the number of the last epoch.
        order_seed, augment_seed: the seeds of order and augmentation, from 0 to 2**32 - 1.
        augment: changes the images of each batch; None means no change.
        first_epoch: how many epochs to skip.

    Returns:
        Batches of images, uint8 (B, height, width), and labels, int32 (B,).
    """
    count = len(split.labels)
    images = tf.constant(split.images)
    labels = tf.constant(split.labels.astype(np.int32))

    def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(
            tf.range(count), tf.stack([tf.constant(order_seed, tf.int64), epoch])
        )
        draws = tf.random.stateless_uniform(
            [count, augment.draws if augment else 0],
            tf.stack([tf.constant(augment_seed, tf.int64), epoch]),
        )

        def batch(start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            chosen = order[start : start + batch_size]
            x = tf.gather(images, chosen)
            if augment:
                x = augment(x, tf.gather(draws, chosen))
            return x, tf.gather(labels, chosen)

        return tf.data.Dataset.range(0, count, batch_size).map(batch)

    # Turn autotuning off, because there is nothing to tune. TensorFlow's tuning thread delays the
    # end of a training: its sleeps double in length, and half of the time nothing wakes it. A
    # training of 13 s then takes 20 s.
    options = tf.data.Options()
    options.autotune.enabled = False
    dataset = tf.data.Dataset.range(first_epoch, epochs).flat_map(one_epoch).prefetch(2)
    return dataset.with_options(options)


def eval_batches(split: Split, batch_size: int = 1000) -> tf.data.Dataset:
    """A split in its stored order, as batches of (uint8 (B, height, width), uint8 (B,))."""
    return tf.data.Dataset.from_tensor_slices((split.images, split.labels)).batch(batch_size)
