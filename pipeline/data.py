"""The prepared data: how it is stored, read, and put into batches."""

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.command import UserError
from pipeline.files import atomic_write, sha256

if TYPE_CHECKING:
    import tensorflow as tf


class Augment(Protocol):
    """Changes images, uint8 (B, height, width), by draws, float32 (B, `draws`) from 0 to 1."""

    draws: int

    def __call__(self, images: "tf.Tensor", draws: "tf.Tensor") -> "tf.Tensor": ...


@dataclass(frozen=True)
class Split:
    """Images, uint8 of shape (N, height, width), and their labels, uint8 of shape (N,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def save_split(prepared: Path, name: str, split: Split) -> None:
    """Write a split as two .npy files."""
    for part, array in (("images", split.images), ("labels", split.labels)):
        content = io.BytesIO()  # into a file itself numpy hides why it cannot be written
        np.save(content, array, allow_pickle=False)
        with atomic_write(prepared / f"{name}_{part}.npy") as file:
            file.write(content.getbuffer())


def load_split(prepared: Path, name: str) -> Split:
    """Memory-map a split.

    Raises:
        UserError: when a file is missing or is no .npy file.
    """
    arrays = []
    for part in ("images", "labels"):
        path = prepared / f"{name}_{part}.npy"
        try:
            arrays.append(np.load(path, mmap_mode="r", allow_pickle=False))
        except FileNotFoundError:
            raise _missing(path) from None
        except (ValueError, EOFError) as error:  # EOFError: an empty file
            raise UserError(f"{path}: {error}; run `dvc repro -f prepare`") from None
    return Split(*arrays)


def load_stats(prepared: Path) -> dict[str, Any]:
    """What `prepare` found out: image size, number of classes, counts."""
    path = prepared / "stats.json"
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise _missing(path) from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}; run `dvc repro -f prepare`") from None


def is_there(prepared: Path) -> bool:
    """Whether `prepare` has written all of a folder."""
    return (prepared / "stats.json").is_file()  # the last that it writes


def _missing(path: Path) -> UserError:
    return UserError(f"{path} is missing: run `dvc repro prepare` first")


def digest(prepared: Path, splits: Sequence[str] = ("train", "validation")) -> str:
    """SHA-256 over the names and contents of splits' files, in hexadecimal.

    Two runs' validation results may be compared where it is equal.

    Raises:
        UserError: when a file is missing.
    """
    result = hashlib.sha256()
    for split in splits:
        for part in ("images", "labels"):
            name = f"{split}_{part}.npy"
            try:
                result.update(f"{sha256(prepared / name)}  {name}\n".encode())
            except FileNotFoundError:
                raise _missing(prepared / name) from None
    return result.hexdigest()


def batches(
    split: Split,
    batch_size: int,
    epochs: int,
    order_seed: int,
    augment_seed: int,
    augment: "Augment | None" = None,
    first_epoch: int = 0,
) -> "tf.data.Dataset":
    """Endless epochs made finite: every image once an epoch, in another order each time.

    The order and each image's augmentation are functions of (seed, epoch, index) alone: whoever
    starts at `first_epoch` sees what one sees who started at the beginning and has come there.

    Args:
        split: the training images and labels.
        batch_size: images a step; the last step of an epoch takes what is left.
        epochs: where to end; `epochs - first_epoch` of them are given.
        order_seed, augment_seed: from 0 to 2**32 - 1.
        augment: changes each batch's images, where given.
        first_epoch: how many epochs to leave out.

    Returns:
        Batches of (uint8 (B, height, width), int32 (B,)).
    """
    import tensorflow as tf

    count = len(split.labels)
    images = tf.constant(split.images)
    labels = tf.constant(split.labels.astype(np.int32))

    def one_epoch(epoch: "tf.Tensor") -> "tf.data.Dataset":
        order = tf.random.experimental.stateless_shuffle(
            tf.range(count), tf.stack([tf.constant(order_seed, tf.int64), epoch])
        )
        draws = tf.random.stateless_uniform(
            [count, augment.draws if augment else 0],
            tf.stack([tf.constant(augment_seed, tf.int64), epoch]),
        )

        def batch(start: "tf.Tensor") -> tuple["tf.Tensor", "tf.Tensor"]:
            chosen = order[start : start + batch_size]
            x = tf.gather(images, chosen)
            if augment:
                x = augment(x, tf.gather(draws, chosen))
            return x, tf.gather(labels, chosen)

        return tf.data.Dataset.range(0, count, batch_size).map(batch)

    # Nothing here is TensorFlow's to tune, and its tuner holds up the end: it sleeps twice as long
    # each time, and one time in two is not woken. A training of 13 s then waits until it is 20 s.
    options = tf.data.Options()
    options.autotune.enabled = False
    given = tf.data.Dataset.range(first_epoch, epochs).flat_map(one_epoch).prefetch(2)
    return given.with_options(options)


def in_order(split: Split, batch_size: int = 1000) -> "tf.data.Dataset":
    """A split as batches of (uint8 (B, height, width), uint8 (B,)), in its order, for measuring."""
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((split.images, split.labels)).batch(batch_size)
