from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.config.composition import compose_sweep
from pipeline.config.schema import Config, Data, Files, Launcher, Sweep
from pipeline.system.errors import UserError
from tests.helpers.configs import MakeConfig
from tests.helpers.samples import composed

COMPOSED = composed()
SWEEP = compose_sweep().sweep.model_dump()


def test_own_target_is_taken_as_its_file_says(conf: Path, cfg: MakeConfig) -> None:
    (conf / "model/mine.yaml").write_text("_target_: keras.Sequential\nanything: [1, two]\n")
    assert cfg("model=mine", conf=conf).model == {
        "_target_": "keras.Sequential",
        "anything": [1, "two"],
    }


@pytest.mark.slow
def test_launcher_names_what_it_needs() -> None:
    with pytest.raises(UserError, match=r"launcher\.(address|storage) \(conf/launcher/dask.yaml\)"):
        compose_sweep(["launcher=dask"])
    with pytest.raises(UserError, match=r"launcher.storage \(the command line\)"):
        compose_sweep(["launcher.storage=mysql://db/optuna"])
    cluster = ["launcher=ray", "launcher.address=head:6379", "launcher.storage=postgresql://db/o"]
    assert compose_sweep(cluster).launcher.backend == "ray"
    assert compose_sweep().launcher.storage == ""


@pytest.mark.parametrize("section", Config.model_fields)
def test_every_section_is_required(section: str) -> None:
    Config.model_validate(COMPOSED)
    with pytest.raises(ValidationError, match=rf"{section}\s+Field required"):
        Config.model_validate({key: v for key, v in COMPOSED.items() if key != section})


@pytest.mark.parametrize("section", ["model", "optimizer"])
def test_model_and_optimizer_need_a_target(section: str) -> None:
    with pytest.raises(ValidationError, match="needs a `_target_`"):
        Config.model_validate(COMPOSED | {section: {}})


@pytest.mark.parametrize("section", ["augment", "schedule"])
def test_augmentation_and_schedule_may_be_empty(section: str) -> None:
    cfg = Config.model_validate(COMPOSED | {section: {}})
    assert getattr(cfg, section) == {}


def test_arguments_of_a_known_target_are_checked() -> None:
    optimizer = {"_target_": "keras.optimizers.SGD", "learning_rate": 0.1, "momentum": 1.5}
    with pytest.raises(ValidationError, match=r"optimizer\.momentum\s+Input should be less than 1"):
        Config.model_validate(COMPOSED | {"optimizer": optimizer})


@pytest.mark.parametrize("name", ["", "a/b", "a\\b"])
def test_file_name_is_not_a_path(name: str) -> None:
    files = {**COMPOSED["data"]["files"], "test_labels": {"name": name}}
    with pytest.raises(ValidationError, match=r"data\.files\.test_labels\.name"):
        Config.model_validate(COMPOSED | {"data": {**COMPOSED["data"], "files": files}})


NAMES = [*"abcdefghij"]


def with_names(names: list[str] | None, num_classes: int | None) -> dict[str, Any]:
    data = {**COMPOSED["data"], "class_names": names, "num_classes": num_classes}
    return COMPOSED | {"data": data}


@pytest.mark.parametrize("num_classes", [10, None])
@pytest.mark.parametrize("names", [None, NAMES, [*NAMES[:9], "$x^2$"], [*NAMES[:9], "日本語"]])
def test_class_names_may_be_any_text(names: list[str] | None, num_classes: int | None) -> None:
    cfg = Config.model_validate(with_names(names, num_classes))
    assert cfg.data.class_names == names


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (NAMES[:9], "should have 10 names, because num_classes is 10"),
        ([*NAMES, "k"], "should have 10 names"),
        ([], "should have 10 names"),
        ([*NAMES[:9], "a"], "'a' is repeated"),
        ([*NAMES[:8], "\u00e9", "e\u0301"], "is repeated"),
        ([*NAMES[:9], " a "], "'a' is repeated"),
        ([*NAMES[:9], ""], r"class_names\.9\s+.*visible"),
        ([*NAMES[:9], "j\n"], r"class_names\.9\s+.*U\+000A"),
        ([*NAMES[:9], "j" * 251], r"class_names\.9\s+.*at most 250"),
    ],
)
def test_class_names_fit_the_classes(names: list[str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Config.model_validate(with_names(names, 10))


@pytest.mark.parametrize("steps", ["x", None, -1.0, 1e18, [1]])
def test_steps_of_any_schedule_are_a_share(steps: Any) -> None:
    schedule = {"_target_": "keras.optimizers.schedules.ExponentialDecay", "decay_steps": 0.5}
    assert Config.model_validate(COMPOSED | {"schedule": schedule}).schedule == schedule
    with pytest.raises(ValidationError, match="decay_steps should be a share of all steps"):
        Config.model_validate(COMPOSED | {"schedule": {**schedule, "decay_steps": steps}})


@pytest.mark.parametrize(
    ("section", "key"),
    [
        *(("train", key) for key in ("seed", "epochs", "batch_size", "patience", "threads")),
        *(("evaluate", key) for key in ("calibration_bins", "worst_mistakes")),
        *(("fetch", key) for key in ("retries", "max_bytes", "connect_timeout", "read_timeout")),
        *(("fetch", "total_timeout"), ("prepare", "seed"), ("data", "num_classes")),
    ],
)
def test_every_number_has_an_upper_bound(section: str, key: str) -> None:
    values = {**COMPOSED[section], key: 10**18}
    with pytest.raises(ValidationError, match=rf"{section}\.{key}\s+Input should be less than"):
        Config.model_validate(COMPOSED | {section: values})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("trials", 10**18),
        ("workers", 10**18),
        ("name", "../study"),
        ("metric", "test_accuracy"),
        ("workers", 0),
        ("max_failed_fraction", 1.1),
        ("timeout", 0),
        ("patience", 0),
        ("params", {}),
        ("pruner", {"percentile": 50.0}),
        ("from", SWEEP["name"]),
    ],
)
def test_bad_setting_of_a_sweep_is_refused(key: str, value: Any) -> None:
    Sweep.model_validate(SWEEP)
    with pytest.raises(ValidationError, match=key):
        Sweep.model_validate(SWEEP | {key: value})


def test_replicates_have_one_objective() -> None:
    two = SWEEP | {"also_minimize": "weights"}
    assert Sweep.model_validate(two).directions == ["maximize", "minimize"]
    with pytest.raises(ValidationError, match="should be false with also_minimize"):
        Sweep.model_validate(two | {"replicates": True})


@pytest.mark.parametrize("storage", ["postgresql:/db/o", "sqlite:///o.db", " "])
def test_storage_is_empty_or_postgresql(storage: str) -> None:
    values = {"backend": "local", "address": ""}
    assert Launcher.model_validate({**values, "storage": "postgresql://db/o"}).storage
    with pytest.raises(ValidationError, match="storage"):
        Launcher.model_validate({**values, "storage": storage})


@pytest.mark.parametrize(("key", "value"), [("name", "a"), ("sha256", "0" * 64), ("bytes", 1)])
@pytest.mark.parametrize("file", Files.model_fields)
def test_digest_of_the_data_changes_with_each_fact_of_a_file(
    file: str, key: str, value: object
) -> None:
    data = Config.model_validate(COMPOSED).data
    changed = data.model_dump()
    changed["files"][file][key] = value
    assert Data.model_validate(changed).digest != data.digest


def test_digest_of_the_data_depends_on_its_files_only() -> None:
    data = Config.model_validate(COMPOSED).data
    other = {"name": "other", "mirrors": ["/nowhere"], "num_classes": 3, "class_names": None}
    assert Data.model_validate(data.model_dump() | other).digest == data.digest
    swapped = data.model_dump()
    files = swapped["files"]
    files["train_labels"], files["test_labels"] = files["test_labels"], files["train_labels"]
    assert Data.model_validate(swapped).digest != data.digest, "each file has its role"


def test_digest_of_the_data_is_computed_anew() -> None:
    data = Config.model_validate(COMPOSED).data
    assert Data.model_validate(data.model_dump() | {"digest": "other"}) == data
