"""The memory and the time that a model needs for one image, from its layers and their shapes.

Only layers of Keras whose work is known here are allowed. Layers of this project are trusted, as
all of its code is, and count by their outputs.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import keras
from keras import layers

# Layers that do no more work than a few operations for each number of their outputs and weights.
_SIMPLE = {
    *("Activation", "ActivityRegularization", "Add", "AlphaDropout", "Average", "Concatenate"),
    *("BatchNormalization", "CenterCrop", "Cropping1D", "Cropping2D", "Cropping3D", "Dropout"),
    *("ELU", "Embedding", "Flatten", "GaussianDropout", "GaussianNoise", "GroupNormalization"),
    *("Identity", "InputLayer", "LayerNormalization", "LeakyReLU", "Masking", "Maximum", "Minimum"),
    *("Multiply", "Normalization", "PReLU", "Permute", "RMSNormalization", "ReLU", "RepeatVector"),
    *("Rescaling", "Reshape", "Resizing", "Softmax", "SpatialDropout1D", "SpatialDropout2D"),
    *("SpatialDropout3D", "Subtract", "UnitNormalization", "UpSampling1D", "UpSampling2D"),
    *("UpSampling3D", "ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D"),
}
# Layers that multiply their weights with the numbers at each position.
_WEIGHTED = {
    *("Conv1D", "Conv1DTranspose", "Conv2D", "Conv2DTranspose", "Conv3D", "Conv3DTranspose"),
    *("Dense", "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"),
}
_RECURRENT = {"ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "GRU", "LSTM", "RNN", "SimpleRNN"}
_ATTENTION = {"AdditiveAttention", "Attention", "GroupQueryAttention", "MultiHeadAttention"}
# Functions of keras.ops, by the names of their classes, that work number by number.
_FUNCTIONS = {
    *("Absolute", "Add", "Cast", "Clip", "Concatenate", "Divide", "Elu", "Exp", "ExpandDims"),
    *("Gelu", "GetItem", "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "LogSoftmax", "Max"),
    *("Maximum", "Mean", "Min", "Minimum", "Multiply", "Negative", "Power", "Relu", "Relu6"),
    *("Reshape", "Selu", "Sigmoid", "Silu", "Softmax", "Softplus", "Softsign", "Sqrt", "Square"),
    *("Squeeze", "Stack", "Subtract", "Sum", "Swapaxes", "Tanh", "Transpose", "TrueDivide"),
    *("OnesLike", "ZerosLike"),
}
_STEP = 20_000  # what one step of a recurrent layer costs besides its multiplications

_MAX_CALLS = 10_000  # of layers
# For one image. Models are asked about 100 images at a time, so the largest tensor has 1.2 GB. The
# default CNN needs 3,456 numbers and 1.2 million multiplications.
_MAX_SIZE = 3 * 10**6
_MAX_OPERATIONS = 10**10


class Cost(NamedTuple):
    """What a model or a layer needs for one image.

    Attributes:
        numbers: how many numbers the largest tensor has.
        operations: how many multiplications it makes.
    """

    numbers: int
    operations: int


def check_cost(cost: Cost) -> None:
    """Raise ValueError for a model that needs too much memory or time for an image."""
    if cost.numbers > _MAX_SIZE:
        raise ValueError(f"a layer needs {cost.numbers} numbers per image; limit: {_MAX_SIZE}")
    if cost.operations > _MAX_OPERATIONS:
        raise ValueError(
            f"it needs {cost.operations} multiplications per image; limit: {_MAX_OPERATIONS}"
        )


def check_calls(config: Any) -> None:
    """Raise ValueError for a configuration that calls its layers too often to be made."""
    if (calls := _count_calls(config)) > _MAX_CALLS:
        raise ValueError(f"it calls layers {calls} times for an image; limit: {_MAX_CALLS}")


def _count_calls(config: Any) -> int:
    """How often the layers of a configuration are called, counted without making the model.

    A model inside of a model may be called twice, and so may the one inside of that: a short
    configuration may stand for a billion calls.
    """
    if isinstance(config, list):
        return sum(map(_count_calls, config))
    if not isinstance(config, dict):
        return 0
    inner = config.get("config")
    calls = max(len(config.get("inbound_nodes") or []), 1) if "class_name" in config else 0
    rest = sum(_count_calls(value) for key, value in config.items() if key != "config")
    return max(calls, 1) * _count_calls(inner) + calls + rest


def cost_of(model: keras.Model) -> Cost:
    """The largest tensor of a model, and all its multiplications, for one image.

    Raises:
        ValueError: for a layer or function of Keras whose work is not known.
    """
    costs = [(_cost(operation), calls) for operation, calls in _operations(model)]
    return Cost(
        max((cost.numbers for cost, _ in costs), default=0),
        sum(cost.operations * calls for cost, calls in costs),
    )


def _operations(model: Any, calls: int = 1) -> Iterator[tuple[Any, int]]:
    """The layers and functions of a model and of those in it, and how often each is called."""
    operations = getattr(model, "operations", None)  # of a graph: not of a Sequential
    described = model.get_config()["layers"] if operations else []
    nodes = {layer["name"]: len(layer["inbound_nodes"]) for layer in described}
    for operation in operations or model.layers:
        times = calls * (nodes.get(operation.name) or 1)  # an input has no node
        if isinstance(operation, keras.Model):
            yield from _operations(operation, times)
        else:
            yield operation, times


def _cost(operation: Any) -> Cost:
    outputs = [tensor.shape for tensor in keras.tree.flatten(operation.output)]
    if isinstance(operation, layers.InputLayer):
        return _simple(outputs)
    inputs = [tensor.shape for tensor in keras.tree.flatten(operation.input)]
    return _cost_of_layer(operation, inputs, outputs)


def _cost_of_layer(layer: Any, inputs: Sequence[Any], outputs: Sequence[Any]) -> Cost:
    """The cost of a layer, by the shapes of what it takes and gives."""
    name, module = type(layer).__name__, type(layer).__module__
    if not module.startswith("keras."):
        return _simple(outputs)  # code of this project
    weights = sum(math.prod(variable.shape) for variable in getattr(layer, "weights", ()))
    numbers = sum(map(_size, outputs))
    if name == "Bidirectional":
        one = _cost_of_layer(layer.forward_layer, inputs, outputs)
        return Cost(2 * one.numbers, 2 * one.operations)
    steps = inputs[0][1] or 1 if len(inputs[0]) > 1 else 1
    if name == "TimeDistributed":
        inner = [(None, *shape[2:]) for shape in (inputs[0], outputs[0])]
        one = _cost_of_layer(layer.layer, inner[:1], inner[1:])
        return Cost(steps * one.numbers, steps * (one.operations + _STEP))
    if name in _RECURRENT:
        # Each step uses all weights; a ConvLSTM does so at each place of an image.
        places = _positions(layer, (None, *inputs[0][2:])) if name.startswith("Conv") else 1
        states = sum(keras.tree.flatten(layer.cell.state_size)) * places
        return Cost(numbers + 8 * steps * states, steps * (weights * places + _STEP))
    if name in _ATTENTION:
        return _attention(layer, inputs, numbers, weights)
    if "Pool" in name:
        pool = getattr(layer, "pool_size", None)
        window = math.prod(pool) if pool else max(map(_size, inputs))
        return Cost(numbers, numbers * window)
    if name in _WEIGHTED:
        positions = max(_positions(layer, shape) for shape in (*inputs, *outputs))
        return Cost(numbers, weights * positions)
    if name in ("Dot", "EinsumDense", "Matmul"):
        contracted = max(n or 1 for shape in inputs for n in shape)
        return Cost(numbers, numbers * max(contracted, weights))
    if name in _SIMPLE or name.startswith("Random") or (name in _FUNCTIONS and ".ops." in module):
        return _simple(outputs)
    raise ValueError(f"it has a {name}, whose need of memory and time is not known")


def _attention(layer: Any, inputs: Sequence[Any], numbers: int, weights: int) -> Cost:
    """Each place of the query looks at each place of the values, in each head."""
    places = [_size(shape[:-1]) for shape in inputs]
    query, value = places[0], max(places[1:] or places)
    heads = int(getattr(layer, "num_heads", 0) or getattr(layer, "num_query_heads", 1))
    width = max(*(int(shape[-1] or 1) for shape in inputs), int(getattr(layer, "key_dim", 0) or 0))
    scores = heads * query * value
    tensor = scores * width if type(layer).__name__ == "AdditiveAttention" else scores
    return Cost(max(numbers, tensor), 2 * scores * width + weights * (query + value))


def _simple(outputs: Sequence[Any]) -> Cost:
    numbers = sum(map(_size, outputs))
    return Cost(numbers, 10 * numbers)


def _size(shape: Any) -> int:
    """How many numbers a tensor has for one image."""
    return math.prod(n or 1 for n in shape)


def _positions(layer: Any, shape: Any) -> int:
    """At how many places of a tensor a layer uses its weights."""
    channels = shape[1] if getattr(layer, "data_format", "") == "channels_first" else shape[-1]
    return _size(shape) // (channels or 1)
