"""A small sweep on the tiny data set, and what is true of any sweep that has ended."""

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any, Protocol

import psutil

from tests.helpers import tiny
from tests.helpers.project import Project

SWEEP = """
name: tiny
metric: val_loss
direction: minimize
trials: 12
workers: 2
sampler: {_target_: optuna.samplers.RandomSampler, seed: 0}
pruner: {_target_: optuna.pruners.PercentilePruner, percentile: 20.0, n_startup_trials: 2}
max_failed_fraction: 0.6
replicates: false
params:
  model.width: range(4, 20)
  # With the last value, the loss is not finite.
  optimizer.learning_rate: choice(0.001, 0.01, 3.0e+38)
  optimizer: choice(sgd, adam)
"""
STUDY = """
import json
from pathlib import Path
from pipeline.sweeps.storage import Store
print(json.dumps([
    [t.number, t.state.name, t.value, t.params, t.user_attrs, sorted(t.intermediate_values)]
    for t in Store(Path(".sweeps/{0}").resolve(), "{0}", "{1}").open().trials
]))
"""
RUNS = """
import json, mlflow
client = mlflow.MlflowClient()
print(json.dumps([
    [r.info.run_id, r.info.status, r.data.tags, r.data.params,
     sorted(m.step for m in client.get_metric_history(r.info.run_id, "val_loss")),
     [a.path for a in client.list_artifacts(r.info.run_id)]]
    for r in mlflow.search_runs(search_all_experiments=True, output_format="list")
]))
"""


class Python(Protocol):
    """Where a sweep ran: a project, or one of several hosts."""

    def python(self, code: str) -> str: ...


def project(folder: Path, raw: Path) -> Project:
    """A project whose data are the tiny data set in a folder. Its trainings take a moment."""
    params = """
data: tiny
model: mlp
augment: none
set:
  prepare: {validation_fraction: 0.2}
  train: {epochs: 3, batch_size: 32}
  model: {depth: 1}
"""
    made = Project.copy(folder, params)
    files = [{"name": name} for name in tiny.contents(tiny.split(3), tiny.split(3))]
    keys = ("train_images", "train_labels", "test_images", "test_labels")
    data: dict[str, Any] = {"name": "tiny", "mirrors": [str(raw)], "num_classes": None}
    data |= {"files": dict(zip(keys, files, strict=True)), "class_names": None}
    made.write("conf/data/tiny.yaml", json.dumps(data))
    made.write("conf/sweep/tiny.yaml", SWEEP)
    return made


def trials(project: Python, name: str, database: str = "") -> list[dict[str, Any]]:
    """All trials of a study, including discarded ones."""
    keys = ("number", "state", "value", "params", "attrs", "steps")
    rows = json.loads(project.python(STUDY.format(name, database)))
    return [dict(zip(keys, row, strict=True)) for row in rows]


def finished(project: Python, name: str, database: str = "") -> list[dict[str, Any]]:
    """The trials of a study that have ended and are not discarded."""
    return [
        trial
        for trial in trials(project, name, database)
        if trial["state"] not in ("WAITING", "RUNNING") and "discarded" not in trial["attrs"]
    ]


def runs(project: Python, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The MLflow run of a sweep, and its children."""
    keys = ("id", "status", "tags", "params", "steps", "artifacts")
    rows = [dict(zip(keys, row, strict=True)) for row in json.loads(project.python(RUNS))]
    of_study = [run for run in rows if run["tags"].get("sweep.study") == name]
    [parent] = [run for run in of_study if "sweep.id" in run["tags"]]
    return parent, [r for r in rows if r["tags"].get("mlflow.parentRunId") == parent["id"]]


def check(project: Python, name: str, total: int, database: str = "") -> None:
    """Assert that there are exactly `total` trials, none twice, and that MLflow agrees."""
    every = trials(project, name, database)
    ended = [trial for trial in every if "discarded" not in trial["attrs"]]
    assert len(ended) == total
    assert {trial["state"] for trial in ended} <= {"COMPLETE", "PRUNED", "FAIL"}
    assert max(Counter(json.dumps(t["params"], sort_keys=True) for t in ended).values()) == 1
    stale = [t for t in every if t["attrs"].get("discarded") == "its worker died"]
    requeued = Counter(t["attrs"].get("requeued") for t in every)
    assert all(requeued[trial["number"]] == 1 for trial in stale if trial["params"])
    parent, children = runs(project, name)
    assert parent["status"] == "FINISHED"
    states = {int(run["tags"]["trial.number"]): run for run in children}
    assert len(states) == len(children), "one run for each trial"
    for trial in ended:
        run = states.pop(trial["number"])
        assert run["tags"]["trial.state"] == trial["state"]
        assert run["status"] == ("FAILED" if trial["state"] == "FAIL" else "FINISHED")
        assert run["steps"] == trial["steps"], trial
    # A trial whose worker died goes on in its own run. But a lost machine may come back.
    left = {run["status"] for run in states.values()}
    assert left <= ({"KILLED"} if database else set())


def workers(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    """The worker processes of a sweep that runs on this machine."""
    children = psutil.Process(process.pid).children(recursive=True)
    living = [child for child in children if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in living if any("spawn_main" in part for part in child.cmdline())]
