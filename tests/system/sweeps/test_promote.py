"""The preset of the best trial: what it composes to, and what the real stage trains with it."""

import csv
import json
import re

import pytest

from pipeline.training.history import best_epoch
from tests.helpers.project import Project

pytestmark = pytest.mark.slow

SWEEP = """
name: digits
metric: val_accuracy
direction: maximize
trials: 4
workers: 2
sampler: {_target_: optuna.samplers.RandomSampler, seed: 1}
pruner: {_target_: optuna.pruners.NopPruner}
max_failed_fraction: 0.5
replicates: false
params:
  model: choice(mlp, cnn)
  model.filters: {when: model=cnn, space: "choice([8, 16], [16, 16])"}
  model.dropout: {when: model=mlp, space: "interval(0.0, 0.5)"}
  optimizer: choice(adam, momentum)
  optimizer.learning_rate: tag(log, interval(1e-3, 1e-1))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    params = "data: mnist_sample\nexperiment: debug\nmodel: null\nset: {train.epochs: 3}\n"
    project = Project.copy(tmp_path_factory.mktemp("promote"), params)
    project.write("conf/sweep/digits.yaml", SWEEP)
    project.run("python", "-m", "pipeline.sweep", "sweep=digits")
    return project


def test_promoted_trial_gives_its_metric_to_the_bit(project: Project) -> None:
    output = project.run("make", "-o", ".venv/.requirements.txt.ready", "promote", "STUDY=digits")
    assert "conf/experiment/best_digits.yaml: dvc exp run -S experiment=best_digits" in output
    trial = json.loads(
        project.python(
            "import json; from pathlib import Path; from pipeline.sweeps.storage import Store;"
            "best = Store(Path('.sweeps/digits').resolve(), 'digits').open().best_trial;"
            "print(json.dumps([best.value, best.user_attrs]))"
        )
    )
    head = project.read("conf/experiment/best_digits.yaml")
    assert f"# Validation accuracy: {trial[0]!r}" in head
    project.write("params.yaml", "experiment: best_digits\n")
    project.repro()
    metrics = json.loads(project.read("models/metrics.json"))
    best = best_epoch(trial[1]["history"])
    assert metrics["val_accuracy"] == trial[0]
    assert metrics["val_loss"] == best["val_loss"]
    assert metrics["best_epoch"] == best["epoch"]
    assert "test_accuracy" in project.read("reports/metrics.json")


@pytest.mark.long
def test_winner_is_the_same_in_mlflow_and_can_be_run_again(project: Project) -> None:
    """Sorted by the objective in `mlflow ui`, the best trial is the first."""
    name = project.python(
        "import mlflow; runs = mlflow.search_runs(search_all_experiments=True, "
        "output_format='list', filter_string='metrics.validation_accuracy > 0', "
        "order_by=['metrics.validation_accuracy DESC']); "
        "runs = [run for run in runs if 'trial.number' in run.data.tags]; "
        "parent = mlflow.get_run(runs[0].data.tags['mlflow.parentRunId']); "
        "assert parent.data.tags['best.trial'] == runs[0].data.tags['trial.number']; "
        "best = runs[0].data.metrics['validation_accuracy']; "
        "assert parent.data.metrics['best_value'] == best; print(runs[0].info.run_name)"
    )
    output = project.run("python", "-m", "pipeline.reproduce", name)
    assert "same: epoch 1" in output
    assert "are the same to the last bit" in output


def test_small_network_of_two_objectives_becomes_a_preset(project: Project) -> None:
    front = "also_minimize: weights\nparams:\n  train.epochs: 1\n"
    sweep = SWEEP.replace("name: digits", "name: front").replace("params:\n", front)
    project.write("conf/sweep/front.yaml", sweep)
    output = project.run("python", "-m", "pipeline.sweep", "sweep=front")
    shown = output.partition("front: the networks that are better than every smaller one\n")[
        2
    ].splitlines()
    numbers = [re.findall(r"^trial (\d+): ", line)[0] for line in shown[:-1]]
    with (project.folder / ".sweeps/front/results/trials.csv").open(newline="") as file:
        trials = {row["trial"]: row for row in csv.DictReader(file)}
    weights = [int(trials[number]["weights"]) for number in numbers]
    accuracies = [float(trials[number]["val_accuracy"]) for number in numbers]
    assert weights[0] == min(int(row["weights"]) for row in trials.values())
    assert weights == sorted(weights)
    assert accuracies == sorted(accuracies)
    assert {row["epochs"] for row in trials.values()} == {"1"}

    tags = project.python(
        "import mlflow; from pipeline.tracking.store import use_store; use_store();"
        "runs = mlflow.search_runs(search_all_experiments=True, output_format='list');"
        "print([run.data.tags['front.trials'] for run in runs if 'front.trials' in run.data.tags])"
    )
    assert tags.strip() == repr([", ".join(numbers)])
    project.run("python", "-m", "pipeline.promote", "front", "--trial", numbers[0])
    head = project.read(f"conf/experiment/front_trial_{numbers[0]}.yaml")
    assert f"{weights[0]:,} weights, and is better than every smaller network." in head
    composed = project.run(
        "python", "-m", "pipeline.compose", f"experiment=front_trial_{numbers[0]}", "--show"
    )
    assert f"learning_rate: {trials[numbers[0]]['optimizer.learning_rate']}" in composed


def test_preset_composes_to_the_trial(project: Project) -> None:
    """Whatever the sweep varies: groups, values, lists, and keys that the base already sets."""
    code = """
from pipeline.config.composition import compose
from pipeline.sweeps.presets import _preset
from pathlib import Path
for n, overrides in enumerate((
    ["experiment=first_network", "data=mnist_sample", "train.threads=1"],
    ["model=cnn", "model.filters=[8,16]", "augment=affine", "schedule=constant"],
    ["model=rnn", "optimizer=momentum", "optimizer.nesterov=false", "+optimizer.clipnorm=1.0"],
    ["schedule=cosine", "optimizer.learning_rate=0.1", "tracking.run_name='a: \\\\'b\\\\''"],
)):
    path = Path(f"conf/experiment/try_{n}.yaml")
    path.write_text(_preset(path.stem, overrides, ""))
    assert compose([f"experiment={path.stem}"]).settings() == compose(overrides).settings()
    path.unlink()
print("equal")
"""
    assert project.python(code) == "equal"


def test_unknown_study_is_one_line(project: Project) -> None:
    output = project.run("python", "-m", "pipeline.promote", "digit", status=1)
    assert output.startswith("error: no study 'digit'")
    assert "did you mean digits?" in output
    assert output.count("\n") == 1


def test_best_trials_are_trained_again_with_other_seeds(project: Project) -> None:
    made = ["make", "-o", ".venv/.requirements.txt.ready"]
    output = project.run(*made, "replicate", "STUDY=digits", "BEST=2", "SEEDS=2")
    lines = project.read(".sweeps/digits_replicates/results/spread.txt").splitlines()
    assert [", 2 seeds" in line for line in lines] == [True, True]
    assert lines[0] in output
    with (project.folder / ".sweeps/digits_replicates/results/trials.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert sorted(row["train.seed"] for row in rows) == ["1", "1", "2", "2"]
    assert {row["state"] for row in rows} == {"COMPLETE"}
    output = project.run(*made, "promote", "STUDY=digits_replicates")
    best = lines[0].partition(":")[0]
    head = project.read("conf/experiment/best_digits_replicates.yaml")
    assert f"# It is {best}: val_accuracy {lines[0].partition(': ')[2]}\n" in head
