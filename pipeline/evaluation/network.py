"""The layers of a network as plain values, to be drawn and described."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
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
        copies: how many networks of an ensemble have such a layer. The parameters are those of all.
    """

    kind: str
    shape: str
    width: int
    parameters: int
    trained: int
    copies: int = 1

    @property
    def name(self) -> str:
        """What it is called in a picture, such as `Dense`, or `5 × Dense` in an ensemble."""
        return self.kind if self.copies == 1 else f"{self.copies} × {self.kind}"


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
    """The layers of a model, from the image to the probabilities, with those of nested models.

    Nested models of the same form, as in an ensemble, are shown once.
    """
    layers: list[Layer] = []
    for nested, group in groupby(model.layers, lambda layer: isinstance(layer, keras.Model)):
        if nested:
            layers += _merge([layers_of(each) for each in group])
        else:
            layers += [_layer(each) for each in group]
    return layers


def _layer(layer: keras.layers.Layer) -> Layer:
    outputs = layer.output if isinstance(layer.output, list | tuple) else [layer.output]
    shape = outputs[0].shape[1:]
    return Layer(
        type(layer).__name__,
        " × ".join(map(str, shape)),
        int(shape[-1]) if shape else 1,
        layer.count_params(),
        sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights),
    )


def _merge(networks: Sequence[list[Layer]]) -> list[Layer]:
    """The layers of one network if all are equal, with the parameters of all; else all layers."""
    first = networks[0]
    if any(network != first for network in networks):
        return [layer for network in networks for layer in network]
    count = len(networks)
    return [
        replace(
            layer,
            parameters=count * layer.parameters,
            trained=count * layer.trained,
            copies=count * layer.copies,
        )
        for layer in first
    ]


def describe_network(model: keras.Model) -> str:
    """The layers that compute with weights, and their widths, such as `Conv2D 32, Dense 10`."""
    shown = [layer for layer in layers_of(model) if layer.trained]
    return ", ".join(
        f"{layer.name} {layer.width}" for layer in shown if layer.kind != "BatchNormalization"
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
