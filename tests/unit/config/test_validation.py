import copy
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.config.composition import compose
from pipeline.config.overrides import read_params
from pipeline.config.schema import Config
from pipeline.config.validation import validate
from pipeline.config.yaml_files import load_config
from pipeline.system.errors import UserError
from tests.helpers.configs import assert_one_line, write_params
from tests.helpers.samples import composed
from tests.helpers.yaml_values import KEYS, ODD, places

COMPOSED = composed()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        # A wrong type.
        ("set: {train: {epochs: '3'}}", ["train.epochs", "params.yaml", "integer", "'3'"]),
        ("set: {train: {epochs: 3.0}}", ["train.epochs", "params.yaml", "integer", "3.0"]),
        ("set: {train: {epochs: true}}", ["train.epochs", "params.yaml", "integer"]),
        ("set: {train: 3}", ["train", "params.yaml", "3"]),
        ("set: {model: {filters: 3}}", ["model.filters", "params.yaml", "list"]),
        (
            "set: {optimizer: {learning_rate: high}}",
            ["optimizer.learning_rate", "params.yaml", "high"],
        ),
        ("set: {model: {_target_: []}}", ["model", "params.yaml", "_target_"]),
        # A value out of range.
        ("set: {train: {epochs: 0}}", ["train.epochs", "params.yaml", "1", "0"]),
        ("set: {train: {seed: -1}}", ["train.seed", "params.yaml", "0", "-1"]),
        ("set: {train: {seed: 4294967296}}", ["train.seed", "params.yaml", "4294967296"]),
        (
            "set: {prepare: {validation_fraction: 1.0}}",
            ["prepare.validation_fraction", "params.yaml"],
        ),
        (
            "set: {optimizer: {learning_rate: -0.1}}",
            ["optimizer.learning_rate", "params.yaml", "-0.1"],
        ),
        (
            "set: {optimizer: {learning_rate: .nan}}",
            ["optimizer.learning_rate", "params.yaml", "nan"],
        ),
        ("set: {model: {dropout: 1.0}}", ["model.dropout", "params.yaml", "1"]),
    ],
)
def test_mistake_in_params_is_one_line(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(UserError) as error:
        compose(params=write_params(tmp_path, text))
    assert_one_line(error.value, parts)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"function-x": 1}, r"^function-x .* no such key"),
        ({"schedule": {"_target_": ["a"]}}, "^schedule .*_target_"),
        ({"data": {"_target_": [], **COMPOSED["data"]}}, "^data._target_ .*no such key"),
        (
            {"tracking": {"experiment": "\ud800", "run_name": None, "champion_level": 0.01}},
            "unicode",
        ),
        ({"model": ["x" * 10_000]}, "^model "),
    ],
)
def test_mistake_in_a_composed_file_is_one_line(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "composed.yaml"
    path.write_text(yaml.safe_dump(COMPOSED | change))
    with pytest.raises(UserError, match=message) as error:
        load_config(path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1000


@pytest.mark.slow
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_changed_values_give_a_configuration_or_one_error(
    tmp_path: Path, data: st.DataObject
) -> None:
    values = copy.deepcopy(COMPOSED)
    for _ in range(data.draw(st.integers(1, 3))):
        *above, key = data.draw(st.sampled_from(places(values)))
        section: Any = values
        for part in above:
            section = section[part]
        if isinstance(section, dict) and data.draw(st.booleans()):
            section[data.draw(KEYS)] = section.pop(key)
        else:
            section[key] = data.draw(ODD)
    path = tmp_path / "composed.yaml"
    path.write_text(yaml.safe_dump(values))
    with suppress(UserError):
        load_config(path)
    with suppress(UserError):
        read_params(path)


def test_valid_values_become_the_typed_configuration() -> None:
    cfg = validate(Config, COMPOSED, lambda key: "a test")
    assert cfg.model_dump() == COMPOSED


def test_unknown_key_is_reported_before_the_missing_one() -> None:
    train = {"epohcs" if key == "epochs" else key: v for key, v in COMPOSED["train"].items()}
    sources = []

    def file_of(key: str) -> str:
        sources.append(key)
        return "a file"

    with pytest.raises(UserError) as error:
        validate(Config, COMPOSED | {"train": train}, file_of)
    assert_one_line(error.value, ["train.epohcs (a file): no such key", "epochs", "(and 1 more)"])
    assert sources == ["train.epohcs"]
