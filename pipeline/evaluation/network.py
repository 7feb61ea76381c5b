"""The layers of a network as plain values, to be drawn and described."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from pipeline.system.files import sha256


@dataclass(frozen=True)
class Layer:
    """One layer of a network.

    Attributes:
        kind: its class in Keras, such as `Dense`.
        shape: of its output for one image, such as `8 × 8 × 32`.
        width: nodes or channels of its output.
        parameters: how many weights and biases it has, also those that are not trained.
        trained: how many of them are trained.
    """

    kind: str
    shape: str
    width: int
    parameters: int
    trained: int


@dataclass(frozen=True)
class Network:
    """What a report says of a network.

    Attributes:
        layers: its layers.
        weights: of its first layer, see `first_weights`.
        digest: SHA-256 of its file.
    """

    layers: list[Layer]
    weights: NDArray[np.float32]
    digest: str


def describe_model(model: keras.Model, path: Path) -> Network:
    """What a report says of a model that was loaded from a file."""
    return Network(layers_of(model), first_weights(model), sha256(path))


def layers_of(model: keras.Model) -> list[Layer]:
    """The layers of a model, from the image to the probabilities."""
    layers = []
    for layer in model.layers:
        outputs = layer.output if isinstance(layer.output, list | tuple) else [layer.output]
        shape = outputs[0].shape[1:]
        layers.append(
            Layer(
                type(layer).__name__,
                " × ".join(map(str, shape)),
                int(shape[-1]) if shape else 1,
                layer.count_params(),
                sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights),
            )
        )
    return layers


def describe_network(model: keras.Model) -> str:
    """The layers that compute with weights, and their widths, such as `Conv2D 32, Dense 10`."""
    shown = [layer for layer in layers_of(model) if layer.trained]
    return ", ".join(
        f"{layer.kind} {layer.width}" for layer in shown if layer.kind != "BatchNormalization"
    )


def first_weights(model: keras.Model) -> NDArray[np.float32]:
    """What each node of the first layer with weights looks for, as images.

    Returns:
        float32 of shape (nodes, height, width): filters of a convolution, or the weights of a dense
        layer in the form of the image. Another layer, such as a recurrent one, gives one picture of
        its whole matrix.
    """
    weights = next(layer.weights for layer in model.layers if layer.trainable_weights)
    kernel = np.atleast_1d(np.asarray(weights[0], np.float32))  # a layer of a user may have one
    if kernel.ndim == 4:  # height, width, channels, filters
        return np.moveaxis(kernel.mean(2), -1, 0)
    height, width = model.input_shape[1:3]
    if kernel.ndim == 2 and len(kernel) == height * width:
        return kernel.T.reshape(-1, height, width)
    return kernel.reshape(1, len(kernel), -1)
