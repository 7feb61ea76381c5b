from pathlib import Path

import pytest
import yaml

from pipeline.config import dependencies, sources, stages
from pipeline.config.composition import compose
from pipeline.config.dependencies import check_targets
from pipeline.config.schema import Config
from pipeline.system.errors import UserError

CFG = compose()


def check(**targets: object) -> None:
    """Check the default configuration with other sections."""
    sections = {
        section: value if isinstance(value, dict) else {"_target_": value}
        for section, value in targets.items()
    }
    check_targets(Config.model_construct(**(dict(CFG) | sections)), lambda key: "a file")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("pipeline.models.mpl", "there is no 'mpl' in pipeline.models; did you mean mlp"),
        ("pipeline.modles.mlp", "there is no 'modles' in pipeline; did you mean models"),
        ("pipline.models.mlp", "there is no module 'pipline'; did you mean pipeline"),
        ("pipeline.models", "pipeline.models is a module: name a function or a class in it"),
        ("keras.optimizers.Adm", "there is no 'Adm' in keras.optimizers; did you mean Adam"),
        ("keras.optimzers.Adam", "there is no 'optimzers' in keras; did you mean optimizers"),
        ("kears.optimizers.Adam", "there is no module 'kears'; did you mean keras"),
        ("keras.layers.Nothing", "there is no 'Nothing' in keras.layers"),
        ("mlp", "'mlp' is not a full name, such as pipeline.models.mlp"),
        ("", "'' is not a full name"),
    ],
)
def test_target_that_does_not_exist_is_one_line(target: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        check(optimizer=target)
    assert str(error.value).startswith(f"optimizer._target_ (a file): {message}")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_target_inside_an_argument_is_checked() -> None:
    layers = [{"_target_": "keras.layers.Flatten"}, {"_target_": "keras.layers.Dnse", "units": 3}]
    with pytest.raises(UserError, match=r"^model\.layers\.1\._target_ .*'Dnse'.* Dense"):
        check(model={"_target_": "pipeline.models.sequential", "layers": layers})
    with pytest.raises(UserError, match=r"^model\.bias\._target_ .*'Zeroes'.* Zeros"):
        check(
            model={
                "_target_": "pipeline.models.mlp",
                "bias": {"_target_": "keras.initializers.Zeroes"},
            }
        )


@pytest.mark.parametrize(
    "target",
    [
        "pipeline.models.mlp",
        "pipeline.models.Shape",
        "keras.Sequential",
        "keras.optimizers.schedules.CosineDecay",
    ],
)
def test_target_that_exists_is_accepted(target: str) -> None:
    check(model=target)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with models and layers of its own, on which no stage depends."""
    (tmp_path / "own_nets").mkdir()
    (tmp_path / "own_nets/nets.py").write_text("from own_nets.layers import L\ndef net(): ...\n")
    (tmp_path / "own_nets/layers.py").write_text("class L: ...\n")
    for module in (dependencies, sources, stages):
        monkeypatch.setattr(module, "REPOSITORY", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    depend_on(tmp_path, train=[], evaluate=[])
    return tmp_path


def depend_on(project: Path, **deps: list[str]) -> None:
    dvc = {"stages": {stage: {"deps": files} for stage, files in deps.items()}}
    (project / "dvc.yaml").write_text(yaml.safe_dump(dvc))


NETS, LAYERS = "own_nets/nets.py", "own_nets/layers.py"
KERAS = {"optimizer": "keras.optimizers.SGD", "schedule": {}, "augment": {}}


def test_stages_must_depend_on_the_files_of_a_model(project: Path) -> None:
    with pytest.raises(UserError) as error:
        check(model="own_nets.nets.net", **KERAS)
    assert str(error.value) == (
        f"model._target_ (a file): DVC would not see edits of {LAYERS} and {NETS}: in dvc.yaml, "
        f"add `- {LAYERS}` and `- {NETS}` to the deps of train and of evaluate"
    )
    depend_on(project, train=[NETS, LAYERS], evaluate=[NETS])
    with pytest.raises(UserError, match=rf"add `- {LAYERS}` to the deps of train and of evaluate"):
        check(model="own_nets.nets.net", **KERAS)
    for deps in ([NETS, LAYERS], ["own_nets"]):
        depend_on(project, train=deps, evaluate=deps)
        check(model="own_nets.nets.net", **KERAS)


def test_only_train_must_depend_on_an_augmentation(project: Path) -> None:
    depend_on(project, train=[LAYERS], evaluate=[])
    check(model="keras.Sequential", **KERAS | {"augment": "own_nets.layers.L"})
    with pytest.raises(UserError, match=r"^optimizer\._target_"):
        check(model="keras.Sequential", **KERAS | {"optimizer": "own_nets.layers.L"})


def test_file_that_git_does_not_know_is_named(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tmp_path_factory.mktemp("real")
    (real / "own_nets").mkdir()
    (real / "own_nets/other.py").touch()
    (real / "single.py").touch()
    monkeypatch.setenv("DVC_ROOT", str(real))
    for target, file in (("own_nets.other.net", "own_nets/other.py"), ("single.net", "single.py")):
        with pytest.raises(UserError, match=rf"git does not know {file}.*`git add {file}`"):
            check(model=target, **KERAS)
