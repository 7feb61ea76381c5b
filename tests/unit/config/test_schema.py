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
    (conf / "model/mine.yaml").write_text("_target_: mine.network\nanything: [1, two]\n")
    assert cfg("model=mine", conf=conf).model == {
        "_target_": "mine.network",
        "anything": [1, "two"],
    }


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


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "../study"),
        ("metric", "test_accuracy"),
        ("workers", 0),
        ("max_failed_fraction", 1.1),
        ("params", {}),
        ("pruner", {"percentile": 50.0}),
    ],
)
def test_bad_setting_of_a_sweep_is_refused(key: str, value: Any) -> None:
    Sweep.model_validate(SWEEP)
    with pytest.raises(ValidationError, match=key):
        Sweep.model_validate(SWEEP | {key: value})


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
    other = {"name": "other", "mirrors": ["/nowhere"], "num_classes": 3, "class_names": ["a"]}
    assert Data.model_validate(data.model_dump() | other).digest == data.digest
    swapped = data.model_dump()
    files = swapped["files"]
    files["train_labels"], files["test_labels"] = files["test_labels"], files["train_labels"]
    assert Data.model_validate(swapped).digest != data.digest, "each file has its role"


def test_digest_of_the_data_is_computed_anew() -> None:
    data = Config.model_validate(COMPOSED).data
    assert Data.model_validate(data.model_dump() | {"digest": "other"}) == data
