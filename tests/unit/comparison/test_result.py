import math

from pipeline.comparison.result import Result, as_settings, differing_keys
from pipeline.config.overrides import flatten
from pipeline.config.schema import Config
from tests.helpers.results import result
from tests.helpers.samples import composed

MODEL = {"_target_": "pipeline.models.mlp", "width": 8}


def test_metrics_are_those_of_the_best_epoch_and_of_the_test_images() -> None:
    found = result("a", loss=0.25)
    assert (found.metric("val_loss"), found.metric("val_accuracy")) == (0.25, 0.75)
    assert (found.metric("test_accuracy"), found.metric("test_loss")) == (0.75, 0.25)
    assert math.isnan(Result("b").metric("val_accuracy"))


def test_settings_are_text_by_key_and_name_the_choices() -> None:
    values = {"model": MODEL, "schedule": {}, "train": {"threads": None, "epochs": 3}}
    assert as_settings(values) == {
        "model": "mlp",
        "model.width": "8",
        "schedule": "none",
        "train.threads": "None",
        "train.epochs": "3",
    }


def test_settings_that_change_no_result_are_left_out() -> None:
    assert as_settings({"tracking": {"run_name": "a"}, "seed.init": 3, "fetch.retries": 2}) == {}


def test_settings_of_dvc_and_of_mlflow_are_equal() -> None:
    """DVC has values in sections, MLflow has text by key."""
    values = Config.model_validate(composed()).model_dump()
    params = {key: str(value) for key, value in flatten(values).items()}
    assert as_settings(values) == as_settings(params)
    params = {key: text for key, text in params.items() if not key.startswith("schedule.")}
    assert as_settings(values | {"schedule": {}}) == as_settings(params | {"schedule": "{}"})


def test_only_what_differs_is_a_difference() -> None:
    assert differing_keys([result("a"), result("b")]) == []
    assert differing_keys([]) == []
    assert differing_keys([result("a"), result("b", {"train.epochs": "5"})]) == ["train.epochs"]


def test_choices_come_first_and_what_follows_from_them_last() -> None:
    mlp = result("b", {"model": "mlp", "model.units": "8", "train.epochs": "5"})
    assert differing_keys([result("a"), mlp]) == ["model", "train.epochs", "model.units"]


def test_setting_that_only_one_model_has_is_no_difference() -> None:
    mlp = result("b", {"model": "mlp", "model.depth": "2"})
    assert differing_keys([result("a"), mlp]) == ["model"]
    deeper = result("c", {"model": "mlp", "model.depth": "3"})
    assert differing_keys([result("a"), mlp, deeper]) == ["model", "model.depth"]


def test_schedule_that_repeats_the_learning_rate_is_left_out() -> None:
    same = {"optimizer.learning_rate": "0.01", "schedule.warmup_target": "0.01"}
    assert differing_keys([result("a"), result("b", same)]) == ["optimizer.learning_rate"]
    other = same | {"schedule.warmup_target": "0.02"}
    assert "schedule.warmup_target" in differing_keys([result("a"), result("b", other)])


def test_choice_has_the_name_of_its_file_and_differs_with_its_content() -> None:
    same = result("b", {"augment": "shift", "augment.shift": "1"})
    assert differing_keys([result("a", {"augment": "affine", "augment.shift": "1"}), same]) == []
    softmax = result("c", {"model": "softmax", "model.depth": "0"})
    mlp = result("d", {"model": "mlp", "model.depth": "2"})
    assert differing_keys([softmax, mlp])[0] == "model"
    presets = [result("e", {"experiment": "default"}), result("f", {"experiment": "debug"})]
    assert differing_keys(presets) == ["experiment"]
