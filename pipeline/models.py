"""The networks. Each takes raw uint8 images (N, height, width) and returns class probabilities.

The network's first layer scales the pixels, so a served model takes the same raw pixels as in
training. The signature of a function is the only declaration of its arguments: configurations are
checked against it. To add a model, write a YAML file in conf/model/. The file names one of these
functions with other arguments, `sequential` with a list of Keras layers, or a function that you add
here.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import keras
from keras import layers
from pydantic import Field

from pipeline.config.types import (
    Fraction,
    Instantiated,
    Layers,
    Pixels,
    Units,
    Width,
    not_zero_with,
    same_length_as,
)

Shape = tuple[int, int]  # height, width in pixels


def mlp(
    image_shape: Shape,
    num_classes: int,
    depth: Annotated[int, Field(ge=0, le=64)],
    width: Annotated[Width, not_zero_with("depth")],
    activation: Literal["relu", "tanh"] = "relu",
    use_bias: bool = True,
    batch_norm: bool = False,
    dropout: Fraction = 0.0,
    kernel_initializer: Instantiated = keras.initializers.GlorotUniform,
    bias_initializer: Instantiated = keras.initializers.Zeros,
) -> keras.Model:
    """A multilayer perceptron of `depth` hidden layers; with 0 it is softmax regression.

    Args:
        depth: number of hidden layers, 0 or more.
        width: units in each hidden layer.
        activation: activation of the hidden layers, `relu` or `tanh`.
        use_bias: whether hidden layers have a bias; with `batch_norm`, its shift replaces the bias.
        batch_norm: normalise each hidden layer before its activation (Ioffe and Szegedy, 2015).
        dropout: share of hidden units dropped at each training step (Srivastava et al., 2014).
        kernel_initializer, bias_initializer: functions that make an initializer. Each layer needs
            its own, because one object gives every layer the same numbers. In YAML, a `_target_`
            with `_partial_: true`.
    """
    hidden: list[Any] = [layers.Flatten()]
    for _ in range(depth):
        hidden.append(
            layers.Dense(
                width,
                use_bias=use_bias and not batch_norm,
                kernel_initializer=kernel_initializer(),
                bias_initializer=bias_initializer(),
            )
        )
        if batch_norm:
            hidden.append(layers.BatchNormalization())
        hidden.append(layers.Activation(activation))
        if dropout:
            hidden.append(layers.Dropout(dropout))
    return sequential(
        image_shape,
        num_classes,
        hidden,
        kernel_initializer=kernel_initializer(),
        bias_initializer=bias_initializer(),
    )


def cnn(
    image_shape: Shape,
    num_classes: int,
    filters: Annotated[list[Units], Layers],
    kernel_sizes: Annotated[list[Pixels], Layers, same_length_as("filters")],
    strides: Annotated[list[Pixels], Layers, same_length_as("filters")],
    units: Width,
    pools: Annotated[list[Pixels], Layers, same_length_as("filters")] | None = None,
    batch_norm: bool = False,
    dropout: Fraction = 0.0,
) -> keras.Model:
    """A convolutional network: convolutions that shrink the image, then a dense layer.

    A strided convolution costs a fraction of a convolution followed by pooling (Springenberg et
    al., 2015); pooling is a little more accurate.

    Args:
        filters, kernel_sizes, strides: one value per convolution. A kernel larger than its input is
            cut to the size of the input, so that small images work too.
        units: units in the dense layer; 0 means no dense layer.
        pools: side length in pixels of the max-pooling after each convolution; 1 means none.
        batch_norm: normalise after each convolution and its pooling (Ioffe and Szegedy, 2015).
        dropout: share of the output layer's inputs dropped at each training step.
    """
    height, width = image_shape
    hidden: list[Any] = [layers.Reshape((height, width, 1))]
    pools = pools or [1] * len(filters)
    for count, size, stride, pool in zip(filters, kernel_sizes, strides, pools, strict=True):
        kernel = (min(size, height), min(size, width))
        hidden.append(layers.Conv2D(count, kernel, stride, use_bias=not batch_norm))
        height, width = (
            (n - k) // stride + 1 for n, k in zip((height, width), kernel, strict=True)
        )
        if pool > 1:
            window = (min(pool, height), min(pool, width))
            hidden.append(layers.MaxPooling2D(window))
            height, width = height // window[0], width // window[1]
        if batch_norm:
            hidden.append(layers.BatchNormalization(momentum=0.9))
        hidden.append(layers.Activation("relu"))
    hidden.append(layers.Flatten())
    if units:
        hidden.append(layers.Dense(units, activation="relu"))
    if dropout:
        hidden.append(layers.Dropout(dropout))
    return sequential(image_shape, num_classes, hidden)


def rnn(
    image_shape: Shape,
    num_classes: int,
    cell: Literal["lstm", "gru"],
    depth: Annotated[int, Field(ge=1, le=16)],
    units: Units,
    dropout: Fraction = 0.0,
) -> keras.Model:
    """A recurrent network that reads an image row by row, from the top.

    Args:
        cell: `lstm` (Hochreiter and Schmidhuber, 1997) or `gru` (Cho et al., 2014).
        depth: number of recurrent layers; each one reads the states of the one before.
        units: units in each layer.
        dropout: share of the last state dropped at each training step.
    """
    recurrent = {"lstm": layers.LSTM, "gru": layers.GRU}[cell]
    hidden = [recurrent(units, return_sequences=i < depth - 1) for i in range(depth)]
    if dropout:
        hidden.append(layers.Dropout(dropout))
    return sequential(image_shape, num_classes, hidden)


def sequential(
    image_shape: Shape, num_classes: int, layers: Sequence[Any], **output: Any
) -> keras.Model:
    """A network that scales pixels to [0, 1], applies `layers`, and ends in a softmax layer.

    Args:
        layers: Keras layers. The first one receives float32 of shape (N, height, width).
        output: more arguments for the last Dense layer.
    """
    return keras.Sequential(
        [
            keras.Input(image_shape, dtype="uint8", name="pixels"),
            keras.layers.Rescaling(1 / 255),
            *layers,
            keras.layers.Dense(num_classes, activation="softmax", name="probabilities", **output),
        ]
    )


def ensemble(
    image_shape: Shape,
    num_classes: int,
    members: Annotated[int, Field(ge=2, le=100)],
    member: Instantiated,
) -> keras.Model:
    """Several networks of the same form, whose probabilities are averaged.

    The members start from different weights, and each learns from its own error, as if it was
    alone. Their errors differ, so the average is more accurate than a member (Hansen and Salamon,
    1990).

    Args:
        members: how many networks.
        member: a function of this module with its other arguments, which makes one network. In
            YAML, a `_target_` with `_partial_: true`.
    """
    networks = [member(image_shape, num_classes) for _ in range(members)]
    weights = [id(weight) for network in networks for weight in network.weights]
    if len({*weights}) < len(weights):
        raise ValueError(
            "the members share layers, because a list of layers in YAML is made once: let `member` "
            "name a function that makes its layers itself, such as pipeline.models.cnn"
        )
    pixels = keras.Input(image_shape, dtype="uint8", name="pixels")
    average = layers.Average(name="probabilities")
    return keras.Model(pixels, average([network(pixels) for network in networks]))
