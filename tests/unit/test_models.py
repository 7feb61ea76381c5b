from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
import pytest

from pipeline.config.instantiation import instantiate_section
from pipeline.models import Shape, cnn, ensemble, mlp, rnn, sequential

Build = Callable[[Shape], Any]


def with_mlp(**settings: Any) -> Build:
    return lambda shape: mlp(shape, 3, **{"depth": 2, "width": 5, **settings})


def with_cnn(**settings: Any) -> Build:
    defaults = {"filters": [4, 6], "kernel_sizes": [7, 4], "strides": [3, 2], "units": 5}
    return lambda shape: cnn(shape, 3, **{**defaults, **settings})


def with_rnn(**settings: Any) -> Build:
    return lambda shape: rnn(shape, 3, **{"cell": "lstm", "depth": 1, "units": 4, **settings})


def with_sequential(shape: Shape) -> Any:
    return sequential(shape, 3, [keras.layers.Flatten(), keras.layers.Dense(4)])


def with_ensemble(shape: Shape) -> Any:
    return ensemble(shape, 3, members=3, member=lambda *sizes: with_cnn()(sizes[0]))


MODELS: dict[str, Build] = {
    "softmax": with_mlp(depth=0, width=0),
    "mlp": with_mlp(),
    "mlp with all": with_mlp(activation="tanh", batch_norm=True, dropout=0.5),
    "cnn": with_cnn(),
    "cnn with all": with_cnn(batch_norm=True, dropout=0.5),
    "cnn without dense": with_cnn(units=0),
    "cnn with pooling": with_cnn(pools=[2, 3], strides=[1, 1], batch_norm=True),
    "ensemble": with_ensemble,
    "lstm": with_rnn(),
    "gru": with_rnn(cell="gru", depth=2, dropout=0.5),
    "sequential": with_sequential,
}


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(8, 8), (28, 20)])
@pytest.mark.parametrize("build", MODELS.values(), ids=MODELS.keys())
def test_raw_pixels_become_class_probabilities(build: Build, shape: Shape) -> None:
    model = build(shape)
    assert model.input_shape == (None, *shape)
    assert model.inputs[0].dtype == "uint8"
    images = np.random.default_rng(0).integers(0, 256, (5, *shape), np.uint8)
    probabilities = np.asarray(model(images))
    assert probabilities.shape == (5, 3)
    assert probabilities.min() >= 0
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)


def test_pixels_are_scaled_to_one() -> None:
    model = with_sequential((8, 8))
    scaled = keras.Model(model.inputs, model.layers[0].output)(np.full((1, 8, 8), 255, np.uint8))
    np.testing.assert_allclose(scaled, 1.0)


def kinds(model: Any) -> list[str]:
    return [type(layer).__name__ for layer in model.layers]


@pytest.mark.parametrize("depth", [0, 1, 4])
def test_depth_counts_hidden_layers(depth: int) -> None:
    assert kinds(with_mlp(depth=depth)((8, 8))).count("Dense") == depth + 1


def test_pooling_comes_before_normalisation_and_only_where_it_shrinks() -> None:
    model = with_cnn(pools=[1, 2], batch_norm=True)((28, 28))
    convolution = ["Conv2D", "BatchNormalization", "Activation"]
    pooled = ["Conv2D", "MaxPooling2D", "BatchNormalization", "Activation"]
    assert kinds(model)[2:9] == [*convolution, *pooled]
    pooling = next(layer for layer in model.layers if type(layer).__name__ == "MaxPooling2D")
    assert pooling.output.shape == (None, 1, 1, 6)  # of 3 × 3


def test_ensemble_averages_members_that_start_differently() -> None:
    model = with_ensemble((28, 20))
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 20), np.uint8)
    members = [layer for layer in model.layers if isinstance(layer, keras.Sequential)]
    answers = [np.asarray(member(images)) for member in members]
    assert len(answers) == 3
    assert not np.allclose(answers[0], answers[1])
    np.testing.assert_allclose(np.asarray(model(images)), np.mean(answers, 0), rtol=1e-5)


@pytest.mark.parametrize("depth", [1, 3])
def test_depth_counts_recurrent_layers(depth: int) -> None:
    assert kinds(with_rnn(depth=depth, cell="gru")((8, 8))).count("GRU") == depth


def test_softmax_regression_is_one_matrix() -> None:
    assert MODELS["softmax"]((8, 8)).count_params() == 64 * 3 + 3


@pytest.mark.parametrize(
    ("settings", "biases"),
    [
        ({}, [True, True]),
        ({"use_bias": False}, [False, True]),
        ({"batch_norm": True}, [False, True]),
    ],
)
def test_batch_norm_replaces_the_bias(settings: dict[str, Any], biases: list[bool]) -> None:
    model = with_mlp(depth=1, **settings)((8, 8))
    assert [layer.use_bias for layer in model.layers if "Dense" in type(layer).__name__] == biases
    assert ("BatchNormalization" in kinds(model)) == ("batch_norm" in settings)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("build", [with_mlp, with_cnn, with_rnn])
def test_dropout_layer_exists_only_with_a_positive_rate(
    build: Callable[..., Build], dropout: float
) -> None:
    assert ("Dropout" in kinds(build(dropout=dropout)((8, 8)))) == (dropout > 0)


def test_each_layer_has_different_initial_weights() -> None:
    settings = {
        "_target_": "pipeline.models.mlp",
        "depth": 3,
        "width": 64,
        "kernel_initializer": {"_target_": "keras.initializers.RandomNormal", "_partial_": True},
    }
    keras.utils.set_random_seed(0)
    model = instantiate_section("model", settings, image_shape=(8, 8), num_classes=64)
    kernels = [w.numpy() for w in model.trainable_variables if w.path.endswith("kernel")]
    assert [kernel.shape for kernel in kernels] == [(64, 64)] * 4
    for i, kernel in enumerate(kernels):
        for other in kernels[i + 1 :]:
            assert (kernel != other).any()


def test_members_that_share_layers_are_refused() -> None:
    shared = [keras.layers.Flatten(), keras.layers.Dense(4)]
    with pytest.raises(ValueError, match="the members share layers"):
        ensemble((4, 3), 2, members=2, member=partial(sequential, layers=shared))
