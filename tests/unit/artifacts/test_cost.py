from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import pytest
from keras import layers

from pipeline.artifacts.cost import check_cost, cost_of
from pipeline.artifacts.inspection import check_config
from pipeline.config.instantiation import instantiate_section
from tests.helpers.configs import MakeConfig
from tests.helpers.model_files import class_entry


def attention(pixels: Any) -> Any:
    """A few weights, and scores of 2,500 times 2,500 places in each head."""
    places = layers.Reshape((2500, 1))(layers.Resizing(50, 50)(layers.Reshape((8, 8, 1))(pixels)))
    return layers.MultiHeadAttention(8, 1)(places, places)


def attention_without_weights(pixels: Any) -> Any:
    places = layers.Reshape((2500, 1))(layers.Resizing(50, 50)(layers.Reshape((8, 8, 1))(pixels)))
    return layers.AdditiveAttention(use_scale=False)([places, places])


def convolution(pixels: Any) -> Any:
    grey = layers.Resizing(512, 512)(layers.Reshape((8, 8, 1))(pixels))
    for _ in range(4):
        grey = layers.Conv2D(8, 63, padding="same")(grey)
    return grey


def recurrence(pixels: Any) -> Any:
    return layers.SimpleRNN(1)(layers.RepeatVector(10**6)(layers.Flatten()(pixels)[:, :1]))


def wrapped_attention(pixels: Any) -> Any:
    frames = layers.Reshape((8, 8, 1))(pixels)
    inside = layers.Bidirectional(layers.LSTM(2000))
    return layers.TimeDistributed(inside)(frames)


def pooling(pixels: Any) -> Any:
    grey = layers.Resizing(1500, 1500)(layers.Reshape((8, 8, 1))(pixels))
    return layers.MaxPooling2D(1500, strides=1, padding="same")(grey)


def unknown_layer(pixels: Any) -> Any:
    return layers.STFTSpectrogram(frame_length=8, fft_length=8)(layers.Reshape((64, 1))(pixels))


def unknown_function(pixels: Any) -> Any:
    rows = keras.ops.cast(pixels, "float32")
    return keras.ops.einsum("bij,bkl->bijkl", rows, rows)


def model_without_values(build: Callable[[Any], Any]) -> keras.Model:
    pixels = keras.Input((8, 8), dtype="uint8")
    with keras.StatelessScope(initialize_variables=False):
        return keras.Model(pixels, build(pixels))


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (attention, "numbers per image"),
        (attention_without_weights, "numbers per image"),
        (convolution, "multiplications per image"),
        (recurrence, "per image"),
        (wrapped_attention, "per image"),
        (pooling, "multiplications per image"),
        (unknown_layer, "STFTSpectrogram, whose need of memory and time is not known"),
        (unknown_function, "Einsum, whose need of memory and time is not known"),
    ],
)
def test_work_inside_of_a_layer_is_bounded(build: Callable[[Any], Any], reason: str) -> None:
    """The weights are few, and so are the outputs: the file is small."""
    with ThreadPoolExecutor(1) as executor:  # Keras would initialise the variables in its thread
        model = executor.submit(model_without_values, build).result()
    with pytest.raises(ValueError, match=reason):
        check_cost(cost_of(model))


def test_model_that_calls_another_twice_at_each_depth_is_refused() -> None:
    """A short configuration, and a billion calls."""
    config: dict[str, Any] = class_entry("keras.layers", "Dense", units=1)
    for _ in range(30):
        config = {**class_entry("keras", "Functional", layers=[config]), "inbound_nodes": [{}, {}]}
    with pytest.raises(ValueError, match=r"it calls layers [0-9]{10,} times"):
        check_config(config)


def test_each_call_of_a_layer_or_a_model_counts() -> None:
    pixels = keras.Input((8, 8), name="pixels")
    layer = layers.Dense(8)
    model = keras.Sequential([keras.Input((8, 8)), layers.Dense(8)])
    once = cost_of(keras.Model(pixels, model(layer(pixels)))).operations
    outputs = pixels
    for _ in range(50):
        outputs = model(layer(outputs))
    many = cost_of(keras.Model(pixels, outputs)).operations
    assert 30 * once < many < 50 * once  # the input counts once


@pytest.mark.slow
def test_models_of_this_project_are_far_below_the_limits(cfg: MakeConfig) -> None:
    for name in ("cnn", "mlp", "rnn", "softmax"):
        settings = cfg(f"model={name}").model
        model = instantiate_section("model", settings, image_shape=(28, 28), num_classes=10)
        cost = cost_of(model)
        assert cost.numbers < 3 * 10**6 / 10
        assert cost.operations < 10**10 / 10
