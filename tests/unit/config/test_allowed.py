import keras
import pytest

from pipeline.config import allowed
from pipeline.config.allowed import refusal


@pytest.mark.parametrize(
    "target",
    [
        "pipeline.models.mlp",
        "pipeline.augment.Affine",
        "tests.helpers.parts.Pair",
        "keras.Sequential",
        "keras.layers.Dense",
        "keras.layers.RandomRotation",
        "keras.activations.relu",
        "keras.initializers.HeNormal",
        "keras.regularizers.L2",
        "keras.optimizers.Lion",
        "keras.optimizers.schedules.PolynomialDecay",
        "optuna.samplers.GPSampler",
        "optuna.pruners.PercentilePruner",
    ],
)
def test_what_is_meant_for_it_is_allowed(target: str) -> None:
    assert refusal(target) == ""


@pytest.mark.parametrize(
    "target",
    [
        *("joblib.load", "numpy.load", "pandas.read_pickle", "pickle.loads", "torch.load"),
        *("builtins.open", "builtins.eval", "os.system", "subprocess.run", "shutil.rmtree"),
        *("hydra.utils.get_method", "hydra.utils.instantiate", "importlib.import_module"),
        *("keras.saving.load_model", "keras.models.load_model", "keras.models.model_from_json"),
        *("keras.utils.get_file", "keras.layers.Lambda", "keras.layers.TFSMLayer"),
        *("keras.layers.deserialize", "keras.optimizers.get", "keras.layers.TextVectorization"),
        *("keras.src.saving.saving_lib.load_model", "keras.layers.Dense.from_config"),
        *("keras.applications.VGG16", "keras.callbacks.CSVLogger", "keras.datasets.mnist"),
        *("tensorflow.io.write_file", "tensorflow.keras.layers.Dense", "tensorflow.py_function"),
        *("optuna.load_study", "optuna.samplers._tpe.sampler.TPESampler", "mlflow.start_run"),
        *("no_such_package.network", "open", ""),
    ],
)
def test_the_rest_of_the_libraries_is_refused(target: str) -> None:
    assert "is refused" in refusal(target)
    assert "pipeline/models.py" in refusal(target), "the way to allow it"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("pipeline.system.files.write_text", "pipeline.system.files is part of the pipeline"),
        ("pipeline.system.git.git", "is part of the pipeline"),
        ("pipeline.reset.restore", "pipeline.reset is part of the pipeline"),
        ("pipeline.predict.main", "is part of the pipeline"),
        ("pipeline.models.keras.utils.get_file", "pipeline.models only imports it"),
        ("pipeline.models.layers.Lambda", "pipeline.models only imports it"),
        ("tests.helpers.parts.dataclass", "tests.helpers.parts only imports it"),
    ],
)
def test_own_code_that_is_not_meant_for_it_is_refused(target: str, reason: str) -> None:
    assert reason in refusal(target)
    assert "Write a function" in refusal(target)


def test_lists_name_what_keras_has() -> None:
    """A name that Keras no longer has would hide a new one."""
    for module in allowed._KERAS - {"keras"}:
        assert hasattr(keras, module.split(".")[1])
    for name in ("Lambda", "TFSMLayer", "TextVectorization", "StringLookup", "IntegerLookup"):
        assert hasattr(keras.layers, name)
