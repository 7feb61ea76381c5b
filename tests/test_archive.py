import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import archive, models
from pipeline.command import UserError


def network() -> Any:
    import keras

    keras.utils.clear_session()  # Keras counts layers of a kind in their names, in each process
    keras.utils.set_random_seed(3)
    model = models.mlp((8, 8), 3, depth=2, width=5, batch_norm=True, dropout=0.5)
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy")
    return model


def test_saved_seconds_apart_gives_the_same_bytes(tmp_path: Path) -> None:
    model = network()
    archive.save(model, tmp_path / "one.keras")
    time.sleep(2.1)  # a zip file counts in steps of two seconds
    archive.save(model, tmp_path / "two.keras")
    assert (tmp_path / "one.keras").read_bytes() == (tmp_path / "two.keras").read_bytes()


def test_equal_models_give_the_same_bytes_and_others_do_not(tmp_path: Path) -> None:
    for name in ("one", "two"):
        archive.save(network(), tmp_path / name / "model.keras")
    other = network()
    other.set_weights([weight + 1e-6 for weight in other.get_weights()])
    archive.save(other, tmp_path / "three" / "model.keras")
    one, two, three = (
        (tmp_path / name / "model.keras").read_bytes() for name in ("one", "two", "three")
    )
    assert one == two
    assert one != three


def test_keras_itself_reads_it(tmp_path: Path) -> None:
    import keras

    model, path = network(), tmp_path / "model.keras"
    archive.save(model, path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.keras"]
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8), np.uint8)
    for loaded in (keras.models.load_model(path), archive.load(path)):
        np.testing.assert_array_equal(loaded(images), model(images))
        assert float(loaded.optimizer.learning_rate) == pytest.approx(0.01)


def test_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_text("old")
    with pytest.raises(AttributeError):
        archive.save(object(), path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.keras"]
    assert path.read_text() == "old"


def refused(path: Path) -> str:
    with pytest.raises(UserError) as error:
        archive.load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_lambda_layer_is_refused(tmp_path: Path) -> None:
    import keras

    layers = [keras.layers.Flatten(), keras.layers.Lambda(lambda x: x * 2)]
    models.sequential((8, 8), 3, layers).save(tmp_path / "model.keras")
    assert "Lambda" in refused(tmp_path / "model.keras")


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.keras", tmp_path / "bad.keras"
    archive.save(network(), good)
    content = good.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"not a model", b"PK\x03\x04"):
        bad.write_bytes(damaged)
        assert "is not a model that can be loaded" in refused(bad)
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(bad, "w") as target:
        target.writestr("metadata.json", source.read("metadata.json"))
        target.writestr("config.json", source.read("config.json"))
    assert "is not a model that can be loaded" in refused(bad)


def test_missing_file_is_named(tmp_path: Path) -> None:
    assert "there is no model file" in refused(tmp_path / "model.keras")


@pytest.mark.parametrize(
    ("shape", "flat", "said"),
    [((8, 8, 1), True, "does not take images"), ((8, 8), False, "does not give class")],
)
def test_model_of_another_kind_is_refused(
    tmp_path: Path, shape: tuple[int, ...], flat: bool, said: str
) -> None:
    import keras

    layers = [keras.layers.Flatten()] if flat else []
    keras.Sequential([keras.Input(shape), *layers, keras.layers.Dense(3)]).save(
        tmp_path / "model.keras"
    )
    assert said in refused(tmp_path / "model.keras")
