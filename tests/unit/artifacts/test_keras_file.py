import json
import pickle
import time
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from pipeline.artifacts.keras_file import (
    _reason,
    canonical,
    check_savable,
    load_model,
    save_model,
)
from pipeline.models import cnn, sequential
from pipeline.system.errors import UserError
from tests.helpers.model_files import load_error, members, network
from tests.helpers.pickles import Payload


@pytest.mark.slow
def test_model_saved_again_later_gives_the_same_bytes(tmp_path: Path) -> None:
    model = network()
    save_model(model, tmp_path / "one.keras")
    time.sleep(2.1)  # a zip file stores times in steps of two seconds
    save_model(model, tmp_path / "two.keras")
    assert (tmp_path / "one.keras").read_bytes() == (tmp_path / "two.keras").read_bytes()


@pytest.mark.slow
def test_equal_models_give_the_same_bytes_and_others_do_not(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_model(network(), tmp_path / name / "model.keras")
    other = network()
    other.set_weights([weight + 1e-6 for weight in other.get_weights()])
    save_model(other, tmp_path / "three" / "model.keras")
    one, two, three = (
        (tmp_path / name / "model.keras").read_bytes() for name in ("one", "two", "three")
    )
    assert one == two
    assert one != three


@pytest.mark.slow
def test_saved_file_can_be_loaded_by_keras(tmp_path: Path) -> None:
    model, path = network(), tmp_path / "model.keras"
    save_model(model, path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.keras"]
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8), np.uint8)
    for loaded in (keras.models.load_model(path), load_model(path)):
        np.testing.assert_array_equal(loaded(images), model(images))
        assert float(loaded.optimizer.learning_rate) == pytest.approx(0.01)


def test_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_text("old")
    with pytest.raises(AttributeError):
        save_model(object(), path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.keras"]
    assert path.read_text() == "old"


@pytest.mark.slow
def test_damaged_files_are_refused(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.keras", tmp_path / "bad.keras"
    save_model(network(), good)
    content = good.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"not a model", b"PK\x03\x04"):
        bad.write_bytes(damaged)
        assert "cannot be loaded as a model" in load_error(bad)
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(bad, "w") as target:
        target.writestr("metadata.json", source.read("metadata.json"))
        target.writestr("config.json", source.read("config.json"))
    assert "cannot be loaded as a model" in load_error(bad)


@pytest.mark.slow
def test_other_formats_are_refused(tmp_path: Path) -> None:
    network().save(tmp_path / "model.h5")
    (tmp_path / "model.h5").rename(tmp_path / "h5.keras")
    (tmp_path / "pickle.keras").write_bytes(pickle.dumps(Payload(tmp_path / "executed")))
    for name in ("h5.keras", "pickle.keras"):
        assert "File is not a zip file" in load_error(tmp_path / name)
    assert not (tmp_path / "executed").exists()


def test_folder_and_device_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.keras").mkdir()
    (tmp_path / "model.keras/config.json").write_text("{}")  # Keras would accept it
    (tmp_path / "zero.keras").symlink_to("/dev/zero")
    for name in ("model.keras", "zero.keras"):
        assert "there is no model file" in load_error(tmp_path / name)


def test_missing_file_is_named(tmp_path: Path) -> None:
    assert "there is no model file" in load_error(tmp_path / "model.keras")


@pytest.mark.slow
def test_other_suffix_is_refused(tmp_path: Path) -> None:
    save_model(network(), tmp_path / "model.keras")
    for name in ("model.h5", "model"):
        (tmp_path / name).write_bytes((tmp_path / "model.keras").read_bytes())
        assert "is not a .keras file" in load_error(tmp_path / name)


@pytest.mark.parametrize(
    ("size", "dtype"), [((None, 8), "uint8"), ((8, None), "uint8"), ((8, 8), "string")]
)
def test_model_without_a_fixed_numeric_input_is_refused(
    tmp_path: Path, size: tuple[int | None, ...], dtype: str
) -> None:
    pixels = keras.Input(size, dtype=dtype)
    pooled = keras.ops.max(keras.ops.zeros_like(pixels, dtype="float32"), axis=(1, 2))
    model = keras.Model(pixels, keras.layers.Dense(3)(pooled[:, None]))
    model.save(tmp_path / "model.keras")
    assert "does not take numeric images of one size" in load_error(tmp_path / "model.keras")


@pytest.mark.parametrize(
    ("shape", "flat", "message"),
    [((8, 8, 1), True, "does not take images"), ((8, 8), False, "does not return class")],
)
def test_model_that_is_not_a_classifier_of_images_is_refused(
    tmp_path: Path, shape: tuple[int, ...], flat: bool, message: str
) -> None:
    layers = [keras.layers.Flatten()] if flat else []
    keras.Sequential([keras.Input(shape), *layers, keras.layers.Dense(3)]).save(
        tmp_path / "model.keras"
    )
    assert message in load_error(tmp_path / "model.keras")


@pytest.mark.slow
def test_canonical_form_keeps_the_weights_and_is_canonical_itself(tmp_path: Path) -> None:
    network().save(tmp_path / "keras.keras")
    content = canonical((tmp_path / "keras.keras").read_bytes())
    (tmp_path / "canonical.keras").write_bytes(content)
    assert canonical(content) == content
    before, after = (members(tmp_path / f"{name}.keras") for name in ("keras", "canonical"))
    assert after["model.weights.h5"] == before["model.weights.h5"]
    assert json.loads(after["metadata.json"])["date_saved"] == ""
    assert "date_saved" in json.loads(before["metadata.json"])


@pytest.mark.parametrize("text", ["short", "the cause " + "x" * 5000, "x" * 5000 + " the cause"])
def test_reason_of_a_refusal_is_shown(text: str) -> None:
    assert ("the cause" in _reason(ValueError(text))) == ("cause" in text)
    assert len(_reason(ValueError(text))) < 700


def test_model_that_could_not_be_loaded_is_refused_before_its_training() -> None:
    unknown = sequential(
        (4, 3),
        2,
        [keras.layers.Flatten(), keras.layers.SpectralNormalization(keras.layers.Dense(2))],
    )
    large = cnn((400, 400), 10, filters=[32], kernel_sizes=[5], strides=[1], pools=[400], units=0)
    for model, reason in ((unknown, "SpectralNormalization"), (large, "numbers")):
        with pytest.raises(
            UserError, match=rf"it could be trained, but not loaded again: .*{reason}"
        ):
            check_savable(model)


@pytest.mark.slow
def test_schedule_of_many_steps_is_allowed(tmp_path: Path) -> None:
    model = network()
    schedule = keras.optimizers.schedules.CosineDecay(0.1, decay_steps=10**8)
    model.compile(keras.optimizers.SGD(schedule), "sparse_categorical_crossentropy")
    check_savable(model)
    save_model(model, tmp_path / "model.keras")
    load_model(tmp_path / "model.keras")
