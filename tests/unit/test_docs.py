"""What the documents and the docstrings show works as shown."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks import results
from benchmarks.pages import head
from pipeline.config.composition import compose
from pipeline.config.paths import REPOSITORY
from pipeline.config.schema import Sweep
from pipeline.sweeps.parsing import parse_space
from pipeline.sweeps.plan import make_plan
from pipeline.sweeps.preflight import check_space
from pipeline.sweeps.storage import Store
from pipeline.sweeps.trials import total_trials
from tests.helpers.docs import DOCUMENTS, blocks, commands, examples, settings
from tests.helpers.shipped import PARAMS

README = (REPOSITORY / "README.md").read_text()
# The commands of CONTRIBUTING.md need the parts that its recipes add: see test_contributing.
ALL = "\n".join(path.read_text() for path in DOCUMENTS if path.name != "CONTRIBUTING.md")
EXPERIMENTS = [words for words in commands(ALL, "dvc exp run") if "-S" in words]
MODULES = sorted((REPOSITORY / "pipeline").rglob("*.py"))
SWEEPS = [
    words[3:]
    for path in MODULES
    for words in commands("```sh\n" + examples(path) + "```", "python -m pipeline.sweep")
] + [words[3:] for words in commands(ALL, "python -m pipeline.sweep")]


def test_readme_is_short() -> None:
    assert len(README.splitlines()) < 200


@pytest.mark.slow
def test_experiments_compose(tmp_path: Path) -> None:
    assert len(EXPERIMENTS) > 6
    (tmp_path / "params.yaml").write_text(PARAMS)
    for words in EXPERIMENTS:
        for overrides in settings(words):
            if overrides == ["experiment=best_depth"]:
                continue  # `make promote` writes it
            compose(overrides, tmp_path / "params.yaml")


def test_params_of_the_readme_compose(tmp_path: Path) -> None:
    [params, *_] = blocks(README, "yaml")
    (tmp_path / "params.yaml").write_text(params)
    cfg = compose(params=tmp_path / "params.yaml")
    assert cfg.model["_target_"] == "pipeline.models.mlp"
    assert (cfg.model["depth"], cfg.train.epochs) == (4, 10)


@pytest.mark.slow
@pytest.mark.parametrize("words", commands(ALL, "python -m pipeline.compose"), ids=str)
def test_compose_commands_run(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "params.yaml").write_text("{}\n")
    subprocess.run(
        [sys.executable, *words[1:]],
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": ""},
        check=True,
        stdout=subprocess.DEVNULL,
    )


@pytest.mark.slow
@pytest.mark.parametrize("arguments", SWEEPS, ids=lambda words: " ".join(words) or "default")
def test_sweep_commands_can_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """They compose, and their space, sampler and pruner pass all checks; nothing is trained."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")  # for a shared study
    (tmp_path / "params.yaml").write_text("{}\n")
    plan = make_plan(arguments, tmp_path / "params.yaml")
    study = Store(tmp_path / "study", plan.sweep.name).create(plan.sweep.direction)
    assert total_trials(study, plan.space, plan.sweep) > 0


@pytest.mark.slow
def test_params_of_a_sweep_in_the_docstring_are_valid(tmp_path: Path) -> None:
    """Those in `sweeps/parsing.py`."""
    (tmp_path / "params.yaml").write_text(PARAMS)
    params = yaml.safe_load(examples(REPOSITORY / "pipeline/sweeps/parsing.py"))["params"]
    sweep = make_plan([], tmp_path / "params.yaml").sweep.model_copy(update={"params": params})
    assert isinstance(sweep, Sweep)
    check_space(parse_space(sweep), sweep, [])


def test_make_targets_and_links_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), flags=re.M))
    named = {words[1] for words in commands(ALL, "make") if "=" not in words[1]}
    assert named - targets == set()
    for path in DOCUMENTS:
        for link in re.findall(r"\]\(([^)#]+)", path.read_text()):
            assert "://" in link or (path.parent / link).exists(), f"{path.name}: {link}"


def test_modules_named_in_the_documents_exist() -> None:
    for name in set(re.findall(r"python -m ((?:pipeline|benchmarks)[\w.]*)", ALL)):
        assert (REPOSITORY / f"{name.replace('.', '/')}.py").is_file(), name


def test_results_are_quoted_as_they_were_measured() -> None:
    """`python -m benchmarks.seeds --write` writes them to all places."""
    measured = results.load()
    assert results.quote_in_readme(README, measured) == README
    for name in measured["configurations"]:
        if path := results.preset_of(name):
            text = path.read_text()
            assert text == results.quote_in_preset(text, name, measured), path
    assert set(measured["configurations"]) == set(results.CONFIGURATIONS)


def test_results_say_which_seconds_cannot_be_compared() -> None:
    row = results.load()["configurations"]["default"] | {"machine": "one", "versions": "keras 3"}
    rows = {"default": row, "model=mlp": row, "model=rnn": row | {"machine": "another"}}
    assert (
        "\nMeasured on one. The seconds of `model=rnn` were measured on another: they cannot be "
        "compared with those of the other rows. Versions: keras 3.\n"
    ) in results.table({"configurations": rows})


def test_results_tell_the_accuracy_without_labels_in_doubt() -> None:
    rows = results.load()["configurations"]
    rows = {"default": rows["default"] | {"without_label_errors": 99.551}}
    last = results.table({"configurations": rows}).splitlines()[-1]
    assert last == "Without the test images whose labels are in doubt: default 99.55 %."


# The pages of docs/benchmarks, by the modules that write them.
BENCHMARKS = {
    "fit": "fit",
    "repro": "pipeline",
    "scale": "scale",
    "fashion": "fashion_mnist",
    "samplers": "samplers",
    "rivals": "sweep",
    "tuners": "tuners",
}


@pytest.mark.parametrize(("module", "page"), BENCHMARKS.items())
def test_pages_of_benchmarks_say_what_is_measured_now(module: str, page: str) -> None:
    source = (REPOSITORY / "benchmarks" / f"{module}.py").read_text()
    written = (REPOSITORY / "docs" / "benchmarks" / f"{page}.md").read_text()
    assert written.startswith(head(ast.get_docstring(ast.parse(source))))
