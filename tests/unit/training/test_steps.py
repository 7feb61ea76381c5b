import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.data.batches import Epoch
from pipeline.data.splits import Split
from pipeline.models import mlp, sequential
from pipeline.training import steps
from pipeline.training.steps import Steps, Trainer

SHAPE, CLASSES = (4, 3), 5
Weights = list[NDArray[np.float32]]


@pytest.fixture
def split() -> Split:
    rng = np.random.default_rng(0)
    return Split(
        rng.integers(0, 256, (50, *SHAPE), np.uint8), rng.integers(0, CLASSES, 50, np.uint8)
    )


def compiled(model: keras.Model | None = None) -> keras.Model:
    """A network with an optimizer; without a model, one with fixed initial weights."""
    if model is None:
        keras.utils.set_random_seed(3)
        model = mlp(SHAPE, CLASSES, depth=1, width=6)
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    return model


def run(
    model: keras.Model, split: Split, *, smoothing: float = 0.0, epochs: int = 2, batch: int = 8
) -> list[Steps]:
    trainer = Trainer(model, batch, smoothing, None)
    return [
        part
        for number in range(epochs)
        for part in trainer.epoch(Epoch(split, number, 1, 2, draws=0))
    ]


def probabilities(model: keras.Model, split: Split) -> NDArray[np.float64]:
    return np.asarray(model(split.images, training=False), np.float64)


@pytest.mark.slow
def test_steps_are_those_of_keras(split: Split) -> None:
    ours, theirs = compiled(), compiled()
    parts = run(ours, split)
    losses = []
    for number in range(2):
        epoch = Epoch(split, number, 1, 2, draws=0)
        while len((batch := epoch.take(8))[1]):
            losses.append(theirs.train_on_batch(batch[0], batch[1]))
            theirs.reset_metrics()
    np.testing.assert_allclose(np.concatenate([p.losses for p in parts]), losses, rtol=1e-5)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert int(ours.optimizer.iterations) == 14


@pytest.mark.slow
def test_number_of_steps_in_a_call_changes_no_bit(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, single = compiled(), compiled()
    assert len(run(whole, split)) < 14
    monkeypatch.setattr(steps, "_MAX_STEPS", 1)
    assert len(run(single, split)) == 14
    for one, other in zip(whole.get_weights(), single.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_loss_and_hits_are_of_the_network_before_each_step(split: Split) -> None:
    model = compiled()
    before = probabilities(model, split)
    (part,) = run(model, split, smoothing=0.2, epochs=1, batch=50)
    expected = -np.log(before[np.arange(50), split.labels]).mean()
    assert part.losses.tolist() == pytest.approx([expected], rel=1e-5)
    assert part.sizes.tolist() == [50]
    assert part.correct == (before.argmax(1) == split.labels).sum()


@pytest.mark.slow
def test_label_smoothing_is_that_of_keras(split: Split) -> None:
    ours, theirs = compiled(), compiled()
    run(ours, split, smoothing=0.2, epochs=1, batch=50)
    smooth = keras.losses.CategoricalCrossentropy(label_smoothing=0.2)
    theirs.compile(optimizer=keras.optimizers.Adam(0.01), loss=smooth)
    images, labels, _ = Epoch(split, 0, 1, 2, draws=0).take(50)
    theirs.train_on_batch(images, np.eye(CLASSES)[labels])
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_last_step_of_an_epoch_counts_by_its_images(split: Split) -> None:
    parts = run(compiled(), split, epochs=1, batch=16)
    assert np.concatenate([part.sizes for part in parts]).tolist() == [16, 16, 16, 2]


def test_loss_of_a_saturated_network_is_that_of_validation(split: Split) -> None:
    """Probabilities of 0 have no logarithm, so both losses come from the logits."""
    model = compiled()
    model.set_weights([weights * 1000 for weights in model.get_weights()])
    validation, _ = Trainer(model, 50, 0.0, None).validate(split)
    (part,) = run(model, split, epochs=1, batch=50)
    assert validation > 100
    assert part.losses.tolist() == pytest.approx([validation], rel=1e-5)


def test_penalties_of_layers_are_learnt_and_not_in_the_loss(split: Split) -> None:
    layer = keras.layers.Dense(4, kernel_regularizer=keras.regularizers.L2(0.5))
    model = compiled(sequential(SHAPE, CLASSES, [keras.layers.Flatten(), layer]))
    size = float((layer.kernel.numpy() ** 2).sum())
    before = probabilities(model, split)
    (part,) = run(model, split, epochs=1, batch=50)
    error = -np.log(before[np.arange(50), split.labels]).mean()
    assert part.losses[0] == pytest.approx(error, rel=1e-5)
    assert (layer.kernel.numpy() ** 2).sum() < size


def test_penalty_that_is_not_finite_is_seen(split: Split) -> None:
    layer = keras.layers.Dense(4, kernel_regularizer=keras.regularizers.L2(3e38))
    model = compiled(sequential(SHAPE, CLASSES, [keras.layers.Flatten(), layer]))
    (part,) = run(model, split, epochs=1, batch=50)
    assert not np.isfinite(part.losses[0])


@pytest.mark.slow
def test_members_of_an_ensemble_learn_as_if_alone(split: Split) -> None:
    alone = [compiled(mlp(SHAPE, CLASSES, depth=1, width=6)) for _ in range(2)]
    members = [keras.models.clone_model(model) for model in alone]
    for member, model in zip(members, alone, strict=True):
        member.set_weights(model.get_weights())
    pixels = keras.Input(SHAPE, dtype="uint8")
    mean = keras.layers.Average()([member(pixels) for member in members])
    ensemble = compiled(keras.Model(pixels, mean))
    answers = np.mean([probabilities(model, split) for model in alone], 0)
    (first, *_) = run(ensemble, split, batch=50)
    for model in alone:
        run(model, split, batch=50)
    for member, model in zip(members, alone, strict=True):
        for one, other in zip(member.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)
    error = -np.log(answers[np.arange(50), split.labels]).mean()
    assert first.losses[0] == pytest.approx(error, rel=1e-5)


@pytest.mark.slow
def test_branches_of_one_network_learn_from_the_error_of_their_mean(split: Split) -> None:
    pixels = keras.Input(SHAPE, dtype="uint8")
    shared = mlp(SHAPE, 6, depth=1, width=6)(pixels)
    branches = [keras.layers.Dense(CLASSES, activation="softmax")(shared) for _ in range(2)]
    ours = compiled(keras.Model(pixels, keras.layers.Average()(branches)))
    theirs = compiled(keras.models.clone_model(ours))
    theirs.set_weights(ours.get_weights())
    run(ours, split, epochs=1, batch=50)
    theirs.train_on_batch(split.images, split.labels)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_validation_is_the_mean_over_all_images() -> None:
    rng = np.random.default_rng(1)
    split = Split(
        rng.integers(0, 256, (2500, *SHAPE), np.uint8), rng.integers(0, CLASSES, 2500, np.uint8)
    )
    model = compiled()
    loss, accuracy = Trainer(model, 8, 0.3, None).validate(split)
    answers = probabilities(model, split)
    assert loss == pytest.approx(-np.log(answers[np.arange(2500), split.labels]).mean(), rel=1e-5)
    assert accuracy == (answers.argmax(1) == split.labels).mean()


@pytest.mark.slow
def test_augmentation_gets_the_random_numbers_of_each_image(split: Split) -> None:
    seen = []

    class Brighten:
        draws = 2

        def __call__(self, images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
            tf.py_function(lambda x, d: seen.append((x.numpy(), d.numpy())), [images, draws], [])
            return tf.cast(images, tf.float32)

    trainer = Trainer(compiled(), 20, 0.0, Brighten())
    list(trainer.epoch(Epoch(split, 0, 1, 2, draws=2)))
    whole = Epoch(split, 0, 1, 2, draws=2).take(50)
    np.testing.assert_array_equal(np.concatenate([x for x, _ in seen]), whole[0])
    np.testing.assert_array_equal(np.concatenate([d for _, d in seen]), whole[2])
