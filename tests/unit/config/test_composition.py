import copy
import datetime
import shutil
import string
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from pipeline.config.composition import compose, compose_sweep
from pipeline.config.overrides import read_params
from pipeline.config.paths import CONF, REPOSITORY, repository_root
from pipeline.config.yaml_files import load_config, save_config
from pipeline.system.errors import UserError
from tests.helpers.configs import MakeConfig
from tests.helpers.samples import composed, config_files, mutations

GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir())
COMPOSED = composed()
CHOICES = [
    f"{path.parent.name}={path.stem}"
    for path in sorted(CONF.glob("*/*.yaml"))
    if path.parent.name not in ("sweep", "launcher")  # only a search has these: see test_space
]

# `${` and `???` mean something to OmegaConf, in conf/ as in params.yaml.
TEXT = st.text().filter(lambda text: "${" not in text and text != "???")
# Of a mapping inside a list: the grammar knows no quotes around a key, so these are names.
NAMES = st.text(string.ascii_letters + "_", min_size=1, max_size=8).filter(
    lambda name: name.lower() not in {"null", "true", "false", "nan", "inf"}
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | TEXT
    # What the grammar gives a meaning to.
    | st.sampled_from(["", "null", "true", "1", "1e3", "inf", " a ", "a=b", "[a]", "{a:1}", "a,b"])
    | st.text("\\'\"", max_size=6)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, min_size=1),
    max_leaves=8,
)

# What may come in place of a value or a key.
ODD = VALUES | st.floats() | st.dates() | st.integers(10**4000, 10**4001) | st.binary(max_size=4)
KEYS = SCALARS | st.floats() | st.dates() | st.sampled_from(["_target_", "function-x", "a" * 300])


def params(folder: Path, text: str) -> Path:
    (folder / "params.yaml").write_text(text)
    return folder / "params.yaml"


@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(value=VALUES)
def test_value_of_params_comes_back_through_hydra(tmp_path: Path, value: Any) -> None:
    conf = tmp_path / "conf"
    conf.mkdir(exist_ok=True)
    (conf / "config.yaml").write_text("section: {}\n")
    path = params(tmp_path, yaml.safe_dump({"+section.key": [value]}, sort_keys=False))
    with initialize_config_dir(str(conf), version_base="1.3"):
        composed = hydra_compose("config", read_params(path, conf))
    back = OmegaConf.to_container(composed)
    assert back == {"section": {"key": [value]}}
    # 1 == 1.0 == True to Python, but not to a reader of composed.yaml.
    assert repr(back) == repr({"section": {"key": [value]}})


@example(name="\x85", rate=1.0, classes=["\x85", "\u2028"], epochs=1)  # YAML's other line ends
@settings(
    deadline=None,
    max_examples=10,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    name=TEXT.filter(bool),
    rate=st.floats(0, exclude_min=True, allow_infinity=False),
    classes=st.lists(TEXT, max_size=3),
    epochs=st.integers(1),
)
def test_params_reach_the_loaded_config(
    tmp_path: Path, name: str, rate: float, classes: list[str], epochs: int
) -> None:
    values = {
        "tracking": {"run_name": name},
        "optimizer.learning_rate": rate,
        "data.class_names": classes,
        "train": {"epochs": epochs},
    }
    composed = compose(params=params(tmp_path, yaml.safe_dump(values)))
    save_config(composed, tmp_path / "composed.yaml")
    cfg = load_config(tmp_path / "composed.yaml")
    assert cfg.tracking.run_name == name
    assert cfg.optimizer["learning_rate"] == rate
    assert cfg.data.class_names == classes
    assert cfg.train.epochs == epochs


def test_nested_and_dotted_keys_say_the_same(tmp_path: Path) -> None:
    nested = read_params(params(tmp_path, "train: {epochs: 3, patience: 1}"))
    dotted = read_params(params(tmp_path, "train.epochs: 3\ntrain.patience: 1"))
    assert nested == dotted == ["train.epochs=3", "train.patience=1"]


def test_mapping_inside_a_list_reaches_the_config(tmp_path: Path) -> None:
    text = "model.kernel_initializer.layers: [{_target_: keras.layers.Dense, units: 5}]"
    composed = compose(params=params(tmp_path, "model: mlp\n+" + text))
    layers = composed.model["kernel_initializer"]["layers"]
    assert layers == [{"_target_": "keras.layers.Dense", "units": 5}]


@pytest.mark.parametrize("text", ["", "{}", "model: null", "train: {}", "# nothing"])
def test_params_that_change_nothing(tmp_path: Path, text: str) -> None:
    assert compose(params=params(tmp_path, text)) == compose()


def test_command_line_beats_params_and_params_beat_the_preset(
    tmp_path: Path, cfg: MakeConfig
) -> None:
    path = params(tmp_path, "model: mlp\ntrain: {epochs: 7, batch_size: 7}")
    composed = compose(["train.epochs=8", "model=rnn"], path)
    assert composed.model["_target_"] == "pipeline.models.rnn"
    assert (composed.train.epochs, composed.train.batch_size) == (8, 7)
    assert cfg().train.batch_size != 7


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_of_every_group_composes(choice: str, cfg: MakeConfig) -> None:
    cfg(choice)


def test_presets_change_what_they_say(cfg: MakeConfig) -> None:
    assert set(GROUPS) >= {"data", "model", "augment", "optimizer", "schedule", "experiment"}
    first = cfg("experiment=first_network")
    assert (first.model["depth"], first.model["width"]) == (3, 500)
    assert first.model["kernel_initializer"]["_target_"] == "keras.initializers.RandomNormal"
    assert cfg("experiment=debug").data.name == "mnist_sample"


def test_schedule_follows_the_learning_rate(cfg: MakeConfig) -> None:
    composed = cfg("schedule=one_cycle", "optimizer.learning_rate=0.123")
    assert composed.schedule["warmup_target"] == 0.123


def test_saved_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_config(compose(["model=mlp"]), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert "${" not in (tmp_path / "one").read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # A misspelt key, at each depth.
        ("trian: {epochs: 3}", ["trian", "params.yaml", "train"]),
        ("modle: mlp", ["modle", "params.yaml", "model"]),
        ("train: {epohcs: 3}", ["train.epohcs", "params.yaml", "epochs"]),
        ("model: {untis: 3}", ["model.untis", "params.yaml", "units"]),
        ("model: {depth: 3}", ["model.depth", "params.yaml", "units"]),
        ("data: {files: {train_image: 3}}", ["train_image", "params.yaml", "train_images"]),
        ("+train.epohcs: 3", ["train.epohcs", "params.yaml", "epochs"]),
        ("+trian.epochs: 3", ["trian", "params.yaml", "train"]),
        # A wrong type.
        ("train: {epochs: '3'}", ["train.epochs", "params.yaml", "integer", "'3'"]),
        ("train: {epochs: 3.0}", ["train.epochs", "params.yaml", "integer", "3.0"]),
        ("train: {epochs: true}", ["train.epochs", "params.yaml", "integer"]),
        ("train: {epochs: null}", ["train.epochs", "params.yaml", "integer"]),
        ("train: 3", ["train", "params.yaml", "3"]),
        ("model: {filters: 3}", ["model.filters", "params.yaml", "list"]),
        ("optimizer: {learning_rate: high}", ["optimizer.learning_rate", "params.yaml", "high"]),
        # A value out of range.
        ("train: {epochs: 0}", ["train.epochs", "params.yaml", "1", "0"]),
        ("train: {seed: -1}", ["train.seed", "params.yaml", "0", "-1"]),
        ("train: {seed: 4294967296}", ["train.seed", "params.yaml", "4294967296"]),
        ("prepare: {validation_fraction: 1.0}", ["prepare.validation_fraction", "params.yaml"]),
        ("optimizer: {learning_rate: -0.1}", ["optimizer.learning_rate", "params.yaml", "-0.1"]),
        ("optimizer: {learning_rate: .nan}", ["optimizer.learning_rate", "params.yaml", "nan"]),
        ("model: {dropout: 1.0}", ["model.dropout", "params.yaml", "1"]),
        # A wrong choice.
        ("model: mpl", ["model=mpl", "params.yaml", "mlp"]),
        ("experiment: defualt", ["experiment=defualt", "params.yaml", "default"]),
        ("model: 3", ["model", "params.yaml", "cnn, mlp, rnn, softmax"]),
        # A value that is not there.
        ("train: {epochs: '???'}", ["train.epochs", "params.yaml"]),
        ("train: {epochs: '${train.nope}'}", ["train.epochs", "params.yaml", "train.nope"]),
        ("tracking: {run_name: '${'}", ["tracking.run_name", "params.yaml"]),
        ("model: {_target_: null}", ["model", "params.yaml", "_target_"]),
        # Not YAML, or not `key: value`.
        ("train: [3", ["params.yaml", "not YAML"]),
        ("train: epochs: 3", ["params.yaml", "not YAML"]),
        ("- train", ["params.yaml", "list"]),
        ("just words", ["params.yaml", "str"]),
    ],
)
def test_mistake_in_params_is_one_line(tmp_path: Path, text: str, said: list[str]) -> None:
    with pytest.raises(UserError) as error:
        compose(params=params(tmp_path, text))
    message = str(error.value)
    assert [part for part in said if part not in message] == [], message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("trian.epochs=3", ["trian", "the command line", "train"]),
        ("train.epochs=x", ["train.epochs", "the command line"]),
        ("model=mpl", ["model=mpl", "the command line", "mlp"]),
        ("model=null", ["model", "the command line"]),
        ("~train.epochs", ["train.epochs", "missing"]),
        ("train.epochs=[1", ["train.epochs=[1", "the command line"]),
        ("nonsense", ["nonsense", "the command line"]),
    ],
)
def test_mistake_on_the_command_line_is_one_line(argument: str, said: list[str]) -> None:
    with pytest.raises(UserError) as error:
        compose([argument])
    message = str(error.value)
    assert [part for part in said if part not in message] == [], message
    assert "\n" not in message


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A copy of conf/ that a test may break."""
    shutil.copytree(CONF, tmp_path / "conf")
    return tmp_path / "conf"


def edit(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return change


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("model/cnn.yaml", edit("units: 256", "units: many"), ["model.units", "many"]),
        ("model/cnn.yaml", edit("units: 256", "unit: 256"), ["model.unit", "units"]),
        ("model/cnn.yaml", edit("units: 256", ""), ["model.units", "missing"]),
        ("model/cnn.yaml", edit("_target_", "target"), ["model", "_target_"]),
        ("optimizer/adam.yaml", edit("beta_1: 0.9", "beta_1: 1.9"), ["optimizer.beta_1", "1.9"]),
        ("schedule/one_cycle.yaml", edit("${optimizer.", "${optimiser."), ["warmup_target"]),
        ("data/mnist.yaml", edit("name: mnist", "name: M N"), ["data.name", "M N"]),
        ("config.yaml", edit("epochs: 4", "epochs: 0"), ["train.epochs", "0"]),
        ("config.yaml", edit("epochs: 4", "epohcs: 4"), ["epohcs", "epochs"]),
        ("config.yaml", edit("patience: 3", "patience: -3"), ["train.patience", "-3"]),
        ("config.yaml", edit("patience: 3", ""), ["train.patience", "missing"]),
    ],
)
def test_mistake_in_conf_names_key_and_file(
    conf: Path, name: str, change: Callable[[str], str], said: list[str]
) -> None:
    (conf / name).write_text(change((conf / name).read_text()))
    with pytest.raises(UserError) as error:
        compose(conf=conf)
    message = str(error.value)
    assert [part for part in [*said, f"conf/{name}"] if part not in message] == [], message
    assert "\n" not in message


def test_file_of_conf_that_is_not_yaml_is_one_line(conf: Path) -> None:
    (conf / "model/cnn.yaml").write_text("units: [256")
    with pytest.raises(UserError, match=r"conf/.*not YAML.*cnn\.yaml") as error:
        compose(conf=conf)
    assert "\n" not in str(error.value)


def test_own_target_is_taken_as_its_file_says(conf: Path, cfg: MakeConfig) -> None:
    (conf / "model/mine.yaml").write_text("_target_: mine.network\nanything: [1, two]\n")
    assert cfg("model=mine", conf=conf).model == {
        "_target_": "mine.network",
        "anything": [1, "two"],
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "dvc repro compose"),
        (b"train: [3", "not YAML"),
        (b"\xff\xfe\x00", "not YAML"),
        (b"- train", "mapping"),
        (b"train: {}", "missing"),
    ],
)
def test_bad_composed_file_is_one_line(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "composed.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=said) as error:
        load_config(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def nested(line: str) -> str:
    """Nine anchors, each of nine aliases of the one before it: 9⁹ values in half a kilobyte."""
    lines = [f"model: &a0 {line}"]
    for n in range(1, 9):
        aliases = ", ".join([f"*a{n - 1}"] * 9)
        lines.append(f"a{n}: &a{n} " + ("{<<: [%s]}" if "{" in line else "[%s]") % aliases)
    return "\n".join(lines)


# Most of these once ended in a traceback, and those of `nested` in no memory.
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (nested("[x]"), "more than 10,000 values"),
        (nested("{x: 1}"), "more than 10,000 values"),
        ("train: &a [*a]", "nested too deep"),
        ("train: &a {b: *a}", "nested too deep"),
        ("train: " + "[" * 40 + "]" * 40, "nested too deep"),
        ("train: " + "[" * 1000, "nested too deep"),
        ("train: 0x" + "f" * 5000, "line 1: a number of 5002 digits"),
        ("a: b\ntrain: " + "9" * 5000, "line 2: a number of 5000 digits"),
        ("train: 1:" + "59:" * 500 + "1.5", "too large"),
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
def test_yaml_that_is_no_configuration_is_one_line(
    tmp_path: Path, read: Callable[[Path], object], text: str, said: str
) -> None:
    path = params(tmp_path, text)
    with pytest.raises(UserError, match=said) as error:
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


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"function-x": 1}, r"^function-x .* no such key"),
        ({"schedule": {"_target_": ["a"]}}, "^schedule .*_target_"),
        ({"data": {"_target_": [], **COMPOSED["data"]}}, "^data._target_ .*no such key"),
        ({"tracking": {"experiment": "\ud800", "run_name": None}}, "unicode"),
        ({"model": ["x" * 10_000]}, "^model "),
    ],
)
def test_mistake_in_a_composed_file_is_one_line(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    path = tmp_path / "composed.yaml"
    path.write_text(yaml.safe_dump(COMPOSED | change))
    with pytest.raises(UserError, match=said) as error:
        load_config(path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("key", ["a" * 300, "a\0", "\ud800", "/tmp", "..", "."])
def test_key_that_no_folder_can_be_named_is_no_group(tmp_path: Path, key: str) -> None:
    path = params(tmp_path, yaml.safe_dump({key: 1}))
    assert read_params(path) == [f"{key}=1"]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=64)
    | st.text(max_size=64).map(str.encode)
    | st.text("[]{}&*!?:-|><%@#'\"\\ \n=~,.0x1a", max_size=32).map(str.encode)
    | st.sampled_from(config_files()).flatmap(mutations)
)
def test_arbitrary_bytes_are_a_configuration_or_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.yaml"
    path.write_bytes(content)
    for read in (load_config, read_params):
        with suppress(UserError):
            read(path)


def places(values: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in nested mappings and lists."""
    if isinstance(values, dict):
        items = list(values.items())
    else:
        items = list(enumerate(values)) if isinstance(values, list) else []
    inside = [place for key, value in items for place in places(value, (*above, key))]
    return [(*above, key) for key, _ in items] + inside


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_other_values_are_a_configuration_or_one_line(tmp_path: Path, data: st.DataObject) -> None:
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


def test_missing_params_file_says_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"params\.yaml is missing"):
        compose(params=tmp_path / "params.yaml")


def test_date_in_params_is_the_text_that_stands_there(tmp_path: Path) -> None:
    # YAML makes a date of it; an override can carry only its text.
    assert yaml.safe_load("2024-01-31") == datetime.date(2024, 1, 31)
    composed = compose(params=params(tmp_path, "tracking: {run_name: 2024-01-31}"))
    assert composed.tracking.run_name == "2024-01-31"


def test_root_is_the_real_repository_of_a_queued_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert repository_root() == REPOSITORY
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert repository_root() == tmp_path


def test_launcher_names_what_it_needs() -> None:
    with pytest.raises(UserError, match=r"launcher\.(address|storage) \(conf/launcher/dask.yaml\)"):
        compose_sweep(["launcher=dask"])
    with pytest.raises(UserError, match=r"launcher.storage \(the command line\)"):
        compose_sweep(["launcher.storage=mysql://db/optuna"])
    cluster = ["launcher=ray", "launcher.address=head:6379", "launcher.storage=postgresql://db/o"]
    assert compose_sweep(cluster).launcher.backend == "ray"
    assert compose_sweep().launcher.storage == ""
