from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from pipeline.config.composition import compose, compose_sweep, group_choices
from pipeline.config.yaml_files import load_config, save_config
from pipeline.system.errors import UserError
from tests.helpers.configs import MakeConfig, assert_one_line, write_params
from tests.helpers.shipped import SHIPPED
from tests.helpers.yaml_values import TEXT

CHOICES = [
    f"{group}={name}"
    for group, names in SHIPPED.items()
    if group not in ("sweep", "launcher")  # only a sweep has these: see test_preflight.py
    for name in names
]


@example(
    name="\x85", rate=1.0, classes=["\x85", "\u2028"], epochs=1
)  # YAML ends a line at these too
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
    composed = compose(params=write_params(tmp_path, yaml.safe_dump(values)))
    save_config(composed, tmp_path / "composed.yaml")
    cfg = load_config(tmp_path / "composed.yaml")
    assert cfg.tracking.run_name == name
    assert cfg.optimizer["learning_rate"] == rate
    assert cfg.data.class_names == classes
    assert cfg.train.epochs == epochs


def test_mapping_inside_a_list_reaches_the_config(tmp_path: Path) -> None:
    text = "model.kernel_initializer.layers: [{_target_: keras.layers.Dense, units: 5}]"
    composed = compose(params=write_params(tmp_path, "model: mlp\n+" + text))
    layers = composed.model["kernel_initializer"]["layers"]
    assert layers == [{"_target_": "keras.layers.Dense", "units": 5}]


@pytest.mark.parametrize("text", ["", "{}", "model: null", "train: {}", "# nothing"])
def test_params_that_change_nothing(tmp_path: Path, text: str) -> None:
    assert compose(params=write_params(tmp_path, text)) == compose()


def test_command_line_beats_params_and_params_beat_the_preset(
    tmp_path: Path, cfg: MakeConfig
) -> None:
    path = write_params(tmp_path, "model: mlp\ntrain: {epochs: 7, batch_size: 7}")
    composed = compose(["train.epochs=8", "model=rnn"], path)
    assert composed.model["_target_"] == "pipeline.models.rnn"
    assert (composed.train.epochs, composed.train.batch_size) == (8, 7)
    assert cfg().train.batch_size != 7


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_of_every_group_composes(choice: str, cfg: MakeConfig) -> None:
    cfg(choice)


def test_presets_set_their_values(cfg: MakeConfig) -> None:
    first = cfg("experiment=first_network")
    assert (first.model["depth"], first.model["width"]) == (3, 500)
    assert first.model["kernel_initializer"]["_target_"] == "keras.initializers.RandomNormal"
    assert cfg("experiment=debug").data.name == "mnist_sample"


def test_schedule_follows_the_learning_rate(cfg: MakeConfig) -> None:
    composed = cfg("schedule=one_cycle", "optimizer.learning_rate=0.123")
    assert composed.schedule["warmup_target"] == 0.123


@pytest.mark.parametrize(
    ("text", "parts"),
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
        # A wrong choice.
        ("model: mpl", ["model=mpl", "params.yaml", "mlp"]),
        ("experiment: defualt", ["experiment=defualt", "params.yaml", "default"]),
        # A missing value.
        ("train: {epochs: '???'}", ["train.epochs", "params.yaml"]),
        ("train: {epochs: '${train.nope}'}", ["train.epochs", "params.yaml", "train.nope"]),
        ("tracking: {run_name: '${'}", ["tracking.run_name", "params.yaml"]),
    ],
)
def test_mistake_in_params_is_one_line(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(UserError) as error:
        compose(params=write_params(tmp_path, text))
    assert_one_line(error.value, parts)


@pytest.mark.parametrize(
    ("argument", "parts"),
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
def test_mistake_on_the_command_line_is_one_line(argument: str, parts: list[str]) -> None:
    with pytest.raises(UserError) as error:
        compose([argument])
    assert_one_line(error.value, parts)


def edit(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return change


@pytest.mark.parametrize(
    ("name", "change", "parts"),
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
    conf: Path, name: str, change: Callable[[str], str], parts: list[str]
) -> None:
    (conf / name).write_text(change((conf / name).read_text()))
    with pytest.raises(UserError) as error:
        compose(conf=conf)
    assert_one_line(error.value, [*parts, f"conf/{name}"])


def test_file_of_conf_that_is_not_yaml_is_one_line(conf: Path) -> None:
    (conf / "model/cnn.yaml").write_text("units: [256")
    with pytest.raises(UserError, match=r"conf/.*not YAML.*cnn\.yaml") as error:
        compose(conf=conf)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep=dept"], r"sweep=dept .*conf/sweep/dept\.yaml.*depth"),
        (["sweep.trails=3"], r"sweep.trails .*trials"),
        (["sweep.trials=0"], "sweep.trials .*greater than or equal to 1"),
        (["sweep.metric=test_accuracy"], "sweep.metric .*val_loss"),
        (["sweep.direction=up"], "sweep.direction .*minimize"),
        (["launcher=slurm"], r"conf/launcher/slurm\.yaml.*local"),
    ],
)
def test_bad_sweep_is_refused_by_name(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        compose_sweep(arguments)


def test_configuration_of_the_stages_has_no_sweep() -> None:
    assert {"sweep", "launcher"}.isdisjoint(compose().model_dump())


def test_choices_of_a_composition_are_its_files_without_the_preset() -> None:
    choices = group_choices(["experiment=first_network", "model=rnn"])
    assert choices["model"] == "rnn"
    assert choices["schedule"] == "constant"
    assert set(choices) == {"data", "model", "augment", "optimizer", "schedule"}


def test_file_of_a_group_that_git_does_not_know_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVC runs `dvc exp run --temp` in a clone, and names the real repository in DVC_ROOT."""
    (tmp_path / "conf/model").mkdir(parents=True)
    (tmp_path / "conf/model/only_there.yaml").touch()
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    message = r"^model=only_there .*there is no conf/model/only_there\.yaml; .*`git add conf/model/"
    with pytest.raises(UserError, match=message):
        compose(["model=only_there"])


def test_revision_needs_no_quotes(tmp_path: Path) -> None:
    for uri in ("git:HEAD~1", "git:main^"):
        assert compose([f"train.init_from={uri}"]).train.init_from == uri
        params = write_params(tmp_path, f"train: {{init_from: {uri}}}")
        assert compose(params=params).train.init_from == uri
