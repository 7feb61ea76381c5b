"""Many optimizer steps in one call of TensorFlow.

`keras.Model.fit` returns to Python after each step, or after a fixed number of steps that must
divide the steps of an epoch. At a few milliseconds a step, that costs a fifth of the time. Here the
number of steps in a call follows the time that they take.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.data.batches import Epoch
from pipeline.data.splits import Split

_SECONDS = 0.25  # aimed at for a call: the progress bar moves and Ctrl-C is answered in this time
_MAX_STEPS = 64  # in a call
_MAX_IMAGES = 16_384  # in a call, so that large batches need no more memory

_VALIDATION_IMAGES = 1000  # in a call


class Augment(Protocol):
    """Changes images, uint8 (B, height, width), by random draws, float32 (B, `draws`) in [0, 1)."""

    draws: int

    def __call__(self, images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor: ...


@dataclass(frozen=True)
class Steps:
    """What some consecutive steps gave.

    Attributes:
        losses: the mean cross-entropy of each step in nats, float32, as in validation: without
            label smoothing and the penalties of layers. It is not finite if these are not.
        sizes: the number of images of each step.
        correct: how many of them the network recognised, before it learnt from them.
    """

    losses: NDArray[np.float32]
    sizes: NDArray[np.int64]
    correct: int


class Trainer:
    """Trains and validates one compiled network."""

    def __init__(
        self, model: keras.Model, batch_size: int, label_smoothing: float, augment: Augment | None
    ) -> None:
        """Prepare the functions that TensorFlow compiles at their first call.

        Args:
            model: a network with an optimizer; it maps uint8 (B, height, width) to probabilities.
            batch_size: images per step; the last step of an epoch has the remaining images.
            label_smoothing: share of the target that is spread over all classes.
            augment: changes the images of each step; None means no change.
        """
        self.batch_size = batch_size
        self._run = _compile_steps(model, batch_size, label_smoothing, augment)
        self._validate = _compile_validation(model)

    def epoch(self, images: Epoch) -> Iterator[Steps]:
        """Train on all images of an epoch. The size of the parts changes no result."""
        steps = 1
        most = max(min(_MAX_STEPS, _MAX_IMAGES // self.batch_size), 1)
        while len((batch := images.take(steps * self.batch_size))[1]):
            started = time.perf_counter()
            losses, correct = self._run(*map(tf.constant, batch))
            sizes = np.full(len(losses), self.batch_size)
            sizes[-1] = len(batch[1]) - self.batch_size * (len(losses) - 1)
            yield Steps(losses.numpy(), sizes, int(correct))
            if time.perf_counter() - started < _SECONDS / 2:
                steps = min(2 * steps, most)

    def validate(self, split: Split) -> tuple[float, float]:
        """The mean cross-entropy in nats and the accuracy on a split."""
        loss, correct = 0.0, 0
        for start in range(0, len(split.labels), _VALIDATION_IMAGES):
            part = slice(start, start + _VALIDATION_IMAGES)
            labels = split.labels[part].astype(np.int32)
            part_loss, part_correct = self._validate(tf.constant(split.images[part]), labels)
            loss += float(part_loss)
            correct += int(part_correct)
        return loss / len(split.labels), correct / len(split.labels)


def _compile_steps(
    model: keras.Model, batch_size: int, label_smoothing: float, augment: Augment | None
) -> Callable[..., Any]:
    network, optimizer = _with_members(model), model.optimizer

    def gradients(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, Any]:
        with tf.GradientTape() as tape:
            members = keras.tree.flatten(network(images, training=True))
            targets = tf.one_hot(labels, members[0].shape[-1])
            errors = [
                tf.reduce_mean(
                    keras.losses.categorical_crossentropy(
                        targets, member, label_smoothing=label_smoothing
                    )
                )
                for member in members
            ]
            total = tf.add_n([*errors, *model.losses])
        # A single output as it is: Keras then takes the loss from its logits, as in validation.
        answers = tf.add_n(members) / len(members) if len(members) > 1 else members[0]
        loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(labels, answers))
        loss = tf.where(tf.math.is_finite(total), loss, total)
        return loss, _correct(answers, labels), tape.gradient(total, model.trainable_variables)

    change = tf.function(augment) if augment else None  # so that it may use Python's if and for

    def run(images: tf.Tensor, labels: tf.Tensor, draws: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        steps = -(-tf.shape(labels)[0] // batch_size)

        def one(step: tf.Tensor, losses: tf.TensorArray, correct: tf.Tensor) -> tuple[Any, ...]:
            part = slice(step * batch_size, (step + 1) * batch_size)
            x = change(images[part], draws[part]) if change else images[part]
            loss, hits, step_gradients = gradients(x, labels[part])
            optimizer.apply(step_gradients, model.trainable_variables)
            return step + 1, losses.write(step, loss), correct + hits

        start = (tf.constant(0), tf.TensorArray(tf.float32, steps), tf.constant(0))
        _, losses, correct = tf.while_loop(lambda step, *_: step < steps, one, start)
        return losses.stack(), correct

    random = tf.TensorSpec((None, augment.draws if augment else 0), tf.float32)
    return _compile(run, *_specs(model), random)


def _compile_validation(model: keras.Model) -> Callable[..., Any]:
    def validate(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        answers = model(images, training=False)
        losses = keras.losses.sparse_categorical_crossentropy(labels, answers)
        return tf.reduce_sum(losses), _correct(answers, labels)

    return _compile(validate, *_specs(model))


def _specs(model: keras.Model) -> tuple[tf.TensorSpec, tf.TensorSpec]:
    """Any number of images and labels, so that a function is compiled once."""
    images = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8)
    return images, tf.TensorSpec((None,), tf.int32)


def _compile(function: Callable[..., Any], *specs: tf.TensorSpec) -> Callable[..., Any]:
    # Autograph, which translates Python's if and for, takes half a second for Keras's code.
    compiled: Callable[..., Any] = tf.function(function, input_signature=specs, autograph=False)
    return compiled


def _correct(answers: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    hits = tf.argmax(answers, 1, tf.int32) == labels
    return tf.reduce_sum(tf.cast(hits, tf.int32))


def _with_members(model: keras.Model) -> keras.Model:
    """The network with a list of outputs: of each member of an ensemble, or its only output.

    Each member learns from its own error, as if it was alone. Learning from the error of the mean
    would make them depend on each other. Branches that share layers are not members.
    """
    average = model.layers[-1]
    members = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    own = [layer for layer in model.layers if layer not in members and layer.weights]
    is_ensemble = isinstance(average, keras.layers.Average) and members and not own
    return keras.Model(model.inputs, average.input if is_ensemble else model.outputs)
