from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import pytest
import yaml
from dvc.utils.hydra import apply_overrides
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from pipeline.config.composition import compose, compose_sweep, group_choices
from pipeline.config.paths import CONF
from pipeline.config.schema import Config
from pipeline.config.yaml_files import load_config, save_config
from pipeline.system.errors import UserError
from pipeline.system.versions import library_versions
from tests.helpers.configs import MakeConfig, assert_one_line, write_params
from tests.helpers.shipped import PARAMS, SHIPPED
from tests.helpers.yaml_values import TEXT

CHOICES = [
    f"{group}={name}"
    for group, names in SHIPPED.items()
    if group not in ("sweep", "launcher")  # only a sweep has these: see test_preflight.py
    for name in names
]


@pytest.mark.slow
@example(mirrors=["\x85", "\u2028"], rate=1.0, epochs=1)  # YAML ends a line at these too
@settings(
    deadline=None,
    max_examples=10,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    mirrors=st.lists(TEXT, min_size=1, max_size=3),
    rate=st.floats(0, 1e9, exclude_min=True),
    epochs=st.integers(1, 100_000),
)
def test_params_reach_the_loaded_config(
    tmp_path: Path, mirrors: list[str], rate: float, epochs: int
) -> None:
    values = {
        "set": {
            "data.mirrors": mirrors,
            "optimizer.learning_rate": rate,
            "train": {"epochs": epochs},
        }
    }
    composed = compose(params=write_params(tmp_path, yaml.safe_dump(values)))
    save_config(composed, tmp_path / "composed.yaml")
    cfg = load_config(tmp_path / "composed.yaml")
    assert cfg.optimizer["learning_rate"] == rate
    assert cfg.data.mirrors == mirrors
    assert cfg.train.epochs == epochs


def test_mapping_inside_a_list_reaches_the_config(tmp_path: Path) -> None:
    text = "+model.kernel_initializer.layers: [{_target_: keras.layers.Dense, units: 5}]"
    composed = compose(params=write_params(tmp_path, f"model: mlp\nset:\n  {text}\n"))
    layers = composed.model["kernel_initializer"]["layers"]
    assert layers == [{"_target_": "keras.layers.Dense", "units": 5}]


@pytest.mark.parametrize(
    "text", ["", "{}", "model: null", "set:", "set: {train: {epochs: null}}", "# nothing"]
)
def test_params_that_change_nothing(tmp_path: Path, text: str) -> None:
    assert compose(params=write_params(tmp_path, text)) == compose()


def test_command_line_beats_params_and_params_beat_the_preset(
    tmp_path: Path, cfg: MakeConfig
) -> None:
    path = write_params(tmp_path, "model: mlp\nset: {train: {epochs: 7, batch_size: 7}}")
    composed = compose(["train.epochs=8", "model=rnn"], path)
    assert composed.model["_target_"] == "pipeline.models.rnn"
    assert (composed.train.epochs, composed.train.batch_size) == (8, 7)
    assert cfg().train.batch_size != 7


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "parts"),
    [
        # A misspelt key, at each depth.
        ("trian: {epochs: 3}", ["trian", "params.yaml", "train"]),
        ("modle: mlp", ["modle", "params.yaml", "model"]),
        ("set: {train: {epohcs: 3}}", ["train.epohcs", "params.yaml", "epochs"]),
        ("set: {model: {untis: 3}}", ["model.untis", "params.yaml", "units"]),
        ("set: {model: {depth: 3}}", ["model.depth", "params.yaml", "units"]),
        ("set: {data: {files: {train_image: 3}}}", ["train_image", "params.yaml", "train_images"]),
        ("set: {+train.epohcs: 3}", ["train.epohcs", "params.yaml", "epochs"]),
        ("set: {+trian.epochs: 3}", ["trian", "params.yaml", "train"]),
        # A wrong choice.
        ("model: mpl", ["model=mpl", "params.yaml", "mlp"]),
        ("experiment: defualt", ["experiment=defualt", "params.yaml", "default"]),
        # A missing value.
        ("set: {train: {epochs: '???'}}", ["train.epochs", "params.yaml"]),
        ("set: {train: {epochs: '${train.nope}'}}", ["train.epochs", "params.yaml", "train.nope"]),
        ("set: {tracking: {run_name: '${'}}", ["tracking.run_name", "params.yaml"]),
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "change", "parts"),
    [
        ("model/cnn.yaml", edit("units: 128", "units: many"), ["model.units", "many"]),
        ("model/cnn.yaml", edit("units: 128", "unit: 256"), ["model.unit", "units"]),
        ("model/cnn.yaml", edit("units: 128", ""), ["model.units", "missing"]),
        ("model/cnn.yaml", edit("_target_", "target"), ["model", "_target_"]),
        ("optimizer/adam.yaml", edit("beta_1: 0.9", "beta_1: 1.9"), ["optimizer.beta_1", "1.9"]),
        ("schedule/one_cycle.yaml", edit("${optimizer.", "${optimiser."), ["warmup_target"]),
        ("data/mnist.yaml", edit("name: mnist", "name: M N"), ["data.name", "M N"]),
        ("config.yaml", edit("epochs: 3", "epochs: 0"), ["train.epochs", "0"]),
        ("config.yaml", edit("epochs: 3", "epohcs: 3"), ["epohcs", "epochs"]),
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
        (["sweep.direction=minimize"], "sweep.direction .*maximize, because the metric is val_acc"),
        (["sweep.metric=val_loss"], "sweep.direction .*minimize"),
        (["sweep.direction=up"], "sweep.direction .*minimize"),
        (["launcher=slurm"], r"conf/launcher/slurm\.yaml.*local"),
    ],
)
def test_bad_sweep_is_refused_by_name(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        compose_sweep(arguments)


PICKS = [
    *(f"{group}={choice}" for group in ("model", "optimizer") for choice in SHIPPED[group]),
    "experiment=first_network",
    "experiment=debug",
    "schedule=constant",
]
VALUES = [
    "optimizer.learning_rate=0.00005",
    "optimizer.momentum=0.5",
    "model.depth=4",
    "model.units=8",
    "model.activation=tanh",
    "train.epochs=2",
]


def composed_or_error(arguments: list[str], params: Path | None = None) -> object:
    try:
        return compose(arguments, params)
    except UserError as error:
        return str(error).split("(")[0]


@pytest.mark.slow
@pytest.mark.parametrize("pick", PICKS)
def test_set_param_of_dvc_composes_what_was_typed_in_any_order(tmp_path: Path, pick: str) -> None:
    path = tmp_path / "params.yaml"
    for value in VALUES:
        texts = set()
        for order in permutations([pick, f"set.{value}"]):
            path.write_text(PARAMS)
            apply_overrides(path, list(order))  # what `dvc exp run -S` does, at once
            texts.add(path.read_text())
            path.write_text(PARAMS)
            for one in order:  # and in one command after the other
                apply_overrides(path, [one])
            texts.add(path.read_text())
        assert len(texts) == 1, value
        assert composed_or_error([], path) == composed_or_error([pick, value]), value


@pytest.mark.parametrize(
    "settings",
    [
        ["optimizer=sgd", "+optimizer.learning_rate=0.01"],
        ["+optimizer.learning_rate=0.01"],
        ["model=mlp", "+model.depth=4"],
        ["+model.depth=4"],
        ["+train.epochs=2"],
        ["+train.init_from='git:HEAD'", "+train.epochs=2"],
    ],
)
def test_value_outside_set_is_refused_with_the_words_to_type(
    tmp_path: Path, settings: list[str]
) -> None:
    path = write_params(tmp_path, PARAMS)
    apply_overrides(path, settings)
    with pytest.raises(UserError) as error:
        compose(params=path)
    assert_one_line(error.value, ["params.yaml", "dvc exp run -S set."])


@pytest.mark.slow
def test_argument_that_no_file_sets_needs_no_plus(tmp_path: Path) -> None:
    params = write_params(tmp_path, "optimizer: sgd\nset: {optimizer: {clipnorm: 1.0}}")
    assert compose(params=params).optimizer["clipnorm"] == 1.0
    with pytest.raises(UserError, match=r"optimizer\.clipnrm .*no key 'clipnrm' in optimizer"):
        compose(["optimizer.clipnrm=1.0"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ["train.seed=3", "train.epochs=2", "optimizer.learning_rate=1e-3"],
        ["model=mlp", "model.width=64", "train.init_from='a b'", "data.mirrors=[a,'b:c']"],
        ["optimizer.learning_rate=${schedule.warmup_steps}", "train.threads=null"],
        ["train.seed=3", "train.seed=4"],
        ["++train.seed=3", "+optimizer.clipnorm=1", "model=mlp", "~model.dropout"],
        ["model=mlp", "model.bias_initializer={_partial_:false}"],
    ],
)
def test_values_are_replaced_as_by_hydra(overrides: list[str]) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        wanted = OmegaConf.to_container(hydra_compose("config", overrides), resolve=True)
    assert isinstance(wanted, dict)
    written = {"versions": library_versions(), "choices": {}, "changes": {}, "initial_model": ""}
    assert compose(overrides).settings() == Config.model_validate(wanted | written).settings()


@pytest.mark.slow
def test_picks_and_values_on_top_of_the_preset_are_changes(tmp_path: Path) -> None:
    assert compose().changes == {}
    assert compose().choices["model"] == "cnn"
    params = write_params(tmp_path, "experiment: first_network\nset: {train: {seed: 3}}")
    arguments = ["optimizer=sgd", "train.epochs=10", "+optimizer.clipnorm=1.0"]
    cfg = compose(arguments, params)
    # 10 epochs are what the preset has.
    assert cfg.changes == {"optimizer": "sgd", "train.seed": 3, "optimizer.clipnorm": 1.0}
    assert cfg.choices["experiment"] == "first_network"
    assert (cfg.choices["model"], cfg.choices["optimizer"]) == ("mlp", "sgd")


def test_file_of_conf_is_read_again_after_a_change(conf: Path) -> None:
    path = conf / "model" / "mlp.yaml"
    (conf / "model" / ".#mlp.yaml").symlink_to("an editor's lock")
    assert compose(["model=mlp", "train.seed=1"], conf=conf).model["width"] == 256
    path.write_text(path.read_text().replace("256", "512"))
    assert compose(["model=mlp", "train.seed=1"], conf=conf).model["width"] == 512


def test_form_of_params_on_the_command_line_is_refused() -> None:
    with pytest.raises(UserError, match=r"set\.train\.epochs=3 .*leave out `set\.`"):
        compose(["set.train.epochs=3"])


@pytest.mark.slow
def test_versions_are_those_of_the_libraries_and_cannot_be_set(conf: Path) -> None:
    assert compose().versions.model_dump() == library_versions()
    with pytest.raises(UserError, match=r"versions\.train"):
        compose(["versions.train=old"])
    path = conf / "config.yaml"
    path.write_text(path.read_text() + "\nversions: {train: old}\n")
    with pytest.raises(UserError, match=r"versions .*compose writes"):
        compose(conf=conf)


def test_configuration_of_the_stages_has_no_sweep() -> None:
    assert {"sweep", "launcher"}.isdisjoint(compose().model_dump())


@pytest.mark.slow
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
        params = write_params(tmp_path, f"set: {{train: {{init_from: {uri}}}}}")
        assert compose(params=params).train.init_from == uri
