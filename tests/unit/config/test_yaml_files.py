import datetime
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from pipeline.config.composition import compose
from pipeline.config.overrides import read_params
from pipeline.config.schema import Config
from pipeline.config.yaml_files import dump_config, load_config, read_yaml, save_config
from pipeline.system.errors import UserError
from tests.helpers.configs import MakeConfig, write_params
from tests.helpers.samples import config_files, mutations

CFG = compose()


def test_saved_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_config(compose(["model=mlp"]), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert "${" not in (tmp_path / "one").read_text()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "dvc repro compose"),
        (b"train: [3", "not YAML"),
        (b"\xff\xfe\x00", "not YAML"),
        (b"- train", "mapping"),
        (b"train: {}", "missing"),
    ],
)
def test_bad_composed_file_is_one_line(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "composed.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        load_config(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def nested(line: str) -> str:
    """Nine anchors, each with nine aliases of the one before: half a kilobyte holds 9⁹ values."""
    lines = [f"model: &a0 {line}"]
    for n in range(1, 9):
        aliases = ", ".join([f"*a{n - 1}"] * 9)
        lines.append(f"a{n}: &a{n} " + ("{<<: [%s]}" if "{" in line else "[%s]") % aliases)
    return "\n".join(lines)


# Most of these once caused a traceback; those of `nested` took all memory.
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (nested("[x]"), "more than 10,000 values"),
        (nested("{x: 1}"), "more than 10,000 values"),
        ("train: &a [*a]", "nested too deep"),
        ("train: &a {b: *a}", "nested too deep"),
        ("train: " + "[" * 40 + "]" * 40, "nested too deep"),
        ("train: " + "[" * 1000, "nested too deep"),
        ("train: 0x" + "f" * 5000, "line 1: a number has 5002 digits"),
        ("a: b\ntrain: " + "9" * 5000, "line 2: a number has 5000 digits"),
        ("train: !!int x", "not YAML"),
        ("train: !!int ''", "not YAML"),
        ("train: !!bool x", "not YAML"),
        (
            "a: !!python/object/apply:os.getcwd []",
            "unsupported YAML tag 'python/object/apply:os.getcwd'",
        ),
        ("? !!binary R0lG\n: 1", "unsupported YAML tag 'binary'"),
        ("train: !!set {a}", "unsupported YAML tag 'set'"),
        ("a: 1\n---\nb: 2", "not YAML"),
    ],
)
@pytest.mark.parametrize("read", [load_config, read_params])
def test_yaml_that_is_not_a_configuration_is_one_line(
    tmp_path: Path, read: Callable[[Path], object], text: str, message: str
) -> None:
    path = write_params(tmp_path, text)
    with pytest.raises(UserError, match=message) as error:
        read(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("read", [load_config, read_params])
def test_folder_in_place_of_a_file_is_one_line(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    with pytest.raises(UserError, match="directory"):
        read(tmp_path)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=64)
    | st.text(max_size=64).map(str.encode)
    | st.text("[]{}&*!?:-|><%@#'\"\\ \n=~,.0x1a", max_size=32).map(str.encode)
    | st.sampled_from(config_files()).flatmap(mutations)
)
def test_arbitrary_bytes_give_a_configuration_or_one_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.yaml"
    path.write_bytes(content)
    for read in (load_config, read_params):
        with suppress(UserError):
            read(path)


def test_date_in_params_stays_text(tmp_path: Path) -> None:
    # YAML reads a date; an override can hold only its text.
    assert yaml.safe_load("2024-01-31") == datetime.date(2024, 1, 31)
    composed = compose(params=write_params(tmp_path, "set: {tracking: {run_name: 2024-01-31}}"))
    assert composed.tracking.run_name == "2024-01-31"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # As DVC writes and reads them (YAML 1.2).
        ("5e-05", 5e-05),
        ("1e-3", 1e-3),
        ("1E3", 1e3),
        ("-1e-3", -1e-3),
        ("+.5", 0.5),
        ("0o7", 7),
        ("1_000", 1000),
        # As Hydra reads them (YAML 1.1).
        ("on", True),
        ("Off", False),
        ("yes", True),
        (".5", 0.5),
        ("0x1F", 31),
        # Text for both, or for the one whose reading is meant.
        ("2026-01-01", "2026-01-01"),
        ("2026-01-01 10:00:00", "2026-01-01 10:00:00"),
        ("12:30", "12:30"),
        ("1:30.5", "1:30.5"),
        ("1e", "1e"),
        ("'1e-3'", "1e-3"),
        ("y", "y"),
        ("00", 0),
    ],
)
def test_numbers_are_read_as_dvc_and_hydra_do(tmp_path: Path, text: str, value: object) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"a: {text}\n")
    assert repr(read_yaml(path, "")["a"]) == repr(value)


def with_experiment(name: str) -> Config:
    """A configuration whose runs are in an experiment of this name."""
    tracking = CFG.tracking.model_copy(update={"experiment": name})
    return CFG.model_copy(update={"tracking": tracking})


@pytest.mark.slow
@given(st.text("0123456789.eEox+-_:", min_size=1, max_size=8) | st.sampled_from(["on", "No"]))
def test_dumped_text_stays_text(text: str) -> None:
    named = with_experiment(text)
    with tempfile.TemporaryDirectory() as folder:
        save_config(named, Path(folder) / "composed.yaml")
        assert load_config(Path(folder) / "composed.yaml").tracking.experiment == text


@pytest.mark.parametrize(
    "text", ["1e-3", "5e-05", "+.5", "0o7", "010", "08_5", "1_0e3", "on", "12:30"]
)
def test_dvc_reads_dumped_text_as_text(text: str) -> None:
    named = with_experiment(text)
    assert YAML(typ="safe").load(dump_config(named))["tracking"]["experiment"] == text


def test_dumped_configuration_has_sorted_keys_and_loads_as_itself(
    tmp_path: Path, cfg: MakeConfig
) -> None:
    text = dump_config(cfg("model=mlp"))
    sections = [line.partition(":")[0] for line in text.splitlines() if line[0].isalpha()]
    assert sections == sorted(sections)
    (tmp_path / "composed.yaml").write_text(text)
    assert load_config(tmp_path / "composed.yaml") == cfg("model=mlp")


def test_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.yaml is missing: write one$"):
        read_yaml(tmp_path / "a.yaml", "write one")


def test_merge_keys_and_few_aliases_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: &a {b: 1}\nc: {<<: *a, d: 2}\ne: *a\n")
    assert read_yaml(path, "") == {"a": {"b": 1}, "c": {"b": 1, "d": 2}, "e": {"b": 1}}
