from functools import partial

import keras
import numpy as np
import pytest

from pipeline.evaluation.network import describe_network, first_weights, layers_of
from pipeline.models import cnn, ensemble, mlp, rnn


def test_layers_have_shapes_and_numbers_of_parameters() -> None:
    model = mlp((4, 3), 5, depth=1, width=7)
    layers = layers_of(model)
    assert sum(layer.parameters for layer in layers) == model.count_params()
    dense = [layer for layer in layers if layer.kind == "Dense"]
    assert [(layer.width, layer.shape) for layer in dense] == [(7, "7"), (5, "5")]
    assert dense[0].parameters == dense[0].trained == 4 * 3 * 7 + 7
    assert describe_network(model) == "Dense 7, Dense 5"


def test_members_of_an_ensemble_are_shown_once() -> None:
    model = ensemble((4, 3), 5, members=3, member=partial(mlp, depth=1, width=7))
    layers = layers_of(model)
    assert sum(layer.parameters for layer in layers) == model.count_params()
    names = [layer.name for layer in layers if layer.kind in ("Flatten", "Dense", "Average")]
    assert names == ["3 × Flatten", "3 × Dense", "3 × Dense", "Average"]
    assert describe_network(model) == "3 × Dense 7, 3 × Dense 5"


def test_nested_models_of_other_forms_are_all_shown() -> None:
    image = keras.Input((4, 3), dtype="uint8")
    networks = [mlp((4, 3), 5, depth=1, width=width) for width in (7, 8)]
    model = keras.Model(image, keras.layers.Average()([network(image) for network in networks]))
    assert describe_network(model) == "Dense 7, Dense 5, Dense 8, Dense 5"


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (lambda: cnn((12, 12), 5, filters=[4], kernel_sizes=[3], strides=[1], units=8), (4, 3, 3)),
        (lambda: mlp((6, 5), 3, depth=1, width=7), (7, 6, 5)),
        (lambda: rnn((6, 5), 3, cell="lstm", depth=1, units=2), None),
    ],
)
def test_first_weights_are_images(model: object, shape: tuple[int, ...] | None) -> None:
    assert callable(model)
    network = model()
    weights = first_weights(network)
    assert weights.dtype == np.float32
    if shape:
        assert weights.shape == shape
    else:
        assert (weights.ndim, len(weights)) == (3, 1)


def test_weights_of_a_dense_layer_have_the_form_of_the_image() -> None:
    model = mlp((2, 3), 4, depth=0, width=1)
    kernel = np.arange(24, dtype=np.float32).reshape(6, 4)
    dense = next(layer for layer in model.layers if isinstance(layer, keras.layers.Dense))
    dense.set_weights([kernel, np.zeros(4)])
    np.testing.assert_array_equal(first_weights(model)[1], kernel[:, 1].reshape(2, 3))


def test_layers_of_a_user_are_described() -> None:
    """One with a single number as its weight, and one with several outputs."""
    image = keras.Input((6, 5))
    scaled = keras.layers.PReLU(shared_axes=[1, 2])(image)
    states = keras.layers.LSTM(4, return_state=True)(scaled)
    model = keras.Model(image, keras.layers.Dense(3)(states[0]))
    assert [layer.shape for layer in layers_of(model)][-2:] == ["4", "3"]
    assert first_weights(model).shape[0] == 1
