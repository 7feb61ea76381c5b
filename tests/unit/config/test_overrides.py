import io
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hypothesis import HealthCheck, given, settings
from omegaconf import OmegaConf
from ruamel.yaml import YAML

from pipeline.config.composition import compose
from pipeline.config.overrides import (
    flatten,
    is_at_or_below,
    key_of,
    merge_overrides,
    parse_overrides,
    quote_text,
    read_params,
    with_params,
)
from pipeline.system.errors import UserError
from tests.helpers.configs import assert_one_line, write_params
from tests.helpers.shipped import PARAMS
from tests.helpers.yaml_values import VALUES


@pytest.mark.slow
@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(value=VALUES)
def test_value_in_params_is_the_same_after_hydra_has_parsed_it(tmp_path: Path, value: Any) -> None:
    conf = tmp_path / "conf"
    conf.mkdir(exist_ok=True)
    (conf / "config.yaml").write_text("section: {}\n")
    text = io.StringIO()
    YAML().dump({"set": {"+section.key": [value]}}, text)  # as DVC writes it
    path = write_params(tmp_path, text.getvalue())
    with initialize_config_dir(str(conf), version_base="1.3"):
        composed = hydra_compose("config", read_params(path, conf))
    parsed = OmegaConf.to_container(composed)
    assert parsed == {"section": {"key": [value]}}
    # 1 == 1.0 == True in Python, but they differ in composed.yaml.
    assert repr(parsed) == repr({"section": {"key": [value]}})


def test_nested_and_dotted_keys_are_equal(tmp_path: Path) -> None:
    nested = read_params(write_params(tmp_path, "set: {train: {epochs: 3, patience: 1}}"))
    dotted = read_params(write_params(tmp_path, "set: {train.epochs: 3, train.patience: 1}"))
    assert nested == dotted == ["train.epochs=3", "train.patience=1"]


@pytest.mark.parametrize("key", ["a" * 300, "a\0", "\ud800", "/tmp", "..", "."])
def test_key_that_cannot_be_a_folder_name_is_not_a_group(tmp_path: Path, key: str) -> None:
    path = write_params(tmp_path, yaml.safe_dump({"set": {key: 1}}))
    assert read_params(path) == [f"{key}=1"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        # DVC makes these of `-S '+train.epochs=3'` and of `-S model=mlp -S '+model.depth=4'`.
        ("train: {epochs: 3}", ["train.epochs", "set: {train.epochs: 3}", "-S set.train.epochs=3"]),
        ("model: {depth: 4}", ["model.depth", "set: {model.depth: 4}", "-S set.model.depth=4"]),
        ("optimizer: {learning_rate: 0.01}", ["-S set.optimizer.learning_rate=0.01"]),
        ("model: mlp\nmodel.depth: 4", ["model.depth", "set: {model.depth: 4}"]),
        ("experiment: {a: 1}", ["experiment.a", "set"]),
        ("set: {model: mlp}", ["set.model", "model: mlp", "dvc exp run -S model=mlp"]),
        ("set: {model: null, optimizer: sgd}", ["set.optimizer", "optimizer: sgd"]),
        ("set: 3", ["set", "key: value", "3"]),
        ("sets: {train.epochs: 3}", ["sets", "did you mean set?"]),
        ("modle: mlp", ["modle", "did you mean model?"]),
        ("1: 2", ["1 (params.yaml)", "no such key"]),
        ("sweep: depth", ["sweep", "make sweep SWEEP=depth"]),
        ("model: mlp\nmodel: cnn", ["line 2", "'model' is there twice"]),
        ("set: {train: {epochs: 1, epochs: 2}}", ["'epochs' is there twice"]),
        ("set: {train.seed: 010}", ["line 1", "010", "leading zeros"]),
    ],
)
def test_key_that_would_not_work_is_refused_with_the_line_to_write(
    tmp_path: Path, text: str, parts: list[str]
) -> None:
    with pytest.raises(UserError) as error:
        read_params(write_params(tmp_path, text))
    assert_one_line(error.value, ["params.yaml", *parts])


def test_shipped_params_change_nothing(tmp_path: Path) -> None:
    assert read_params(write_params(tmp_path, PARAMS)) == ["experiment=default"]


def test_missing_params_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"params\.yaml is missing"):
        compose(params=tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("model: 3", ["model", "params.yaml", "cnn, ", "mlp, "]),
        ("train: [3", ["params.yaml", "not YAML"]),
        ("train: epochs: 3", ["params.yaml", "not YAML"]),
        ("- train", ["params.yaml", "list"]),
        ("just words", ["params.yaml", "str"]),
    ],
)
def test_mistake_in_params_is_one_line(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(UserError) as error:
        compose(params=write_params(tmp_path, text))
    assert_one_line(error.value, parts)


def test_later_overrides_replace_equal_keys() -> None:
    base = ["model=mlp", "+optimizer.clipnorm=1.0", "train.epochs=3"]
    merged = merge_overrides(base, ["train.epochs=5", "~optimizer.clipnorm"])
    assert merged == ["model=mlp", "train.epochs=5", "~optimizer.clipnorm"]
    assert merge_overrides(base, []) == base


def test_command_line_replaces_keys_of_params(tmp_path: Path) -> None:
    path = write_params(tmp_path, "model: mlp\nset: {train.epochs: 3}")
    assert with_params(path, ["train.epochs=5"]) == ["model=mlp", "train.epochs=5"]


@pytest.mark.parametrize(
    "override", ["train.epochs=3", "+train.epochs=3", "++train.epochs='a=b'", "~train.epochs"]
)
def test_key_has_no_prefix_and_no_value(override: str) -> None:
    assert key_of(override) == "train.epochs"


def test_overrides_are_parsed_in_order() -> None:
    parsed = parse_overrides(["model=mlp", "train.epochs=3"], "a test")
    assert [(override.key_or_group, override.value()) for override in parsed] == [
        ("model", "mlp"),
        ("train.epochs", 3),
    ]


def test_override_outside_the_grammar_is_named_with_its_source() -> None:
    with pytest.raises(UserError) as error:
        parse_overrides(["model=mlp", "train.epochs=[1"], "a test")
    assert_one_line(error.value, ["'train.epochs=[1'", "(a test)"])


def test_nested_mappings_become_dotted_keys() -> None:
    values = {"a": {"b": 1, "c": {"d": [2, {"e": 3}]}}, "f": {}, "g.h": None}
    assert flatten(values) == {"a.b": 1, "a.c.d": [2, {"e": 3}], "f": {}, "g.h": None}


@pytest.mark.parametrize(
    "value",
    ["git:HEAD~1", "git:HEAD^", "git:v1^{}", "git:main@{1}", "~/a.keras", "é.keras", "git:it's~"],
)
def test_text_that_the_grammar_refuses_is_quoted(value: str) -> None:
    [override] = parse_overrides([quote_text(f"train.init_from={value}")], "a test")
    assert override.value() == value
    [added] = parse_overrides([quote_text(f"+train.init_from={value}")], "a test")
    assert (added.value(), added.is_add()) == (value, True)


@pytest.mark.parametrize(
    "override",
    [
        "a=1",
        "a=git:HEAD",
        "a=x,y",
        "a='x~'",
        "a=",
        "~a",
        "a=[1",
        "a={b:1",
        "a=choice(1~",
        "nonsense",
    ],
)
def test_other_overrides_stay_as_they_are(override: str) -> None:
    assert quote_text(override) == override


def test_key_is_at_or_below_others_only_by_whole_parts() -> None:
    for key, expected in {
        "train": True,
        "train.seed": True,
        "trains": False,
        "x.train": False,
    }.items():
        assert is_at_or_below(key, ("data", "train")) == expected
    assert not is_at_or_below("train", ("train.seed",))
    assert not is_at_or_below("train", ())
