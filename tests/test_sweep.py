"""Searches with the real tools, on the tiny data set: stopped in every way, they end whole."""

import csv
import os
import signal
import subprocess
from collections import Counter

import psutil
import pytest
import searches
import tiny
from project import Project
from searches import check, counted, runs, trials

pytestmark = pytest.mark.search


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose data are the tiny ones, prepared, and whose trainings take a moment."""
    folder = tmp_path_factory.mktemp("sweep")
    raw = tiny.write_raw(folder / "raw", tiny.split(150), tiny.split(60, seed=1))
    (folder / "project").mkdir()
    project = searches.project(folder / "project", raw)
    project.run("dvc", "repro", "prepare")
    return project


def command(*arguments: str) -> list[str]:
    return ["python", "-m", "pipeline.sweep", "sweep=tiny", *arguments]


def test_search_prunes_records_failures_and_goes_on(project: Project) -> None:
    output = project.run(*command("sweep.trials=10"))
    assert output.count("\ntrial ") == 10
    check(project, "tiny", 10)
    ended = counted(project, "tiny")
    states = Counter(trial["state"] for trial in ended)
    assert all(states[state] for state in ("COMPLETE", "PRUNED", "FAIL")), states
    for trial in ended:
        if trial["state"] == "FAIL":
            assert "UserError: the loss is" in trial["attrs"]["failure"]
            assert trial["params"]["optimizer.learning_rate"] == 3e38
        if trial["state"] == "COMPLETE":
            best = min(trial["attrs"]["history"], key=lambda row: row["val_loss"])
            assert trial["value"] == best["val_loss"]
    # The same command with more trials keeps these; with as many it does nothing.
    assert "\ntrial " not in project.run(*command("sweep.trials=10"))
    assert project.run(*command()).count("\ntrial ") == 2
    check(project, "tiny", 12)
    assert counted(project, "tiny")[:10] == ended
    parent, children = runs(project, "tiny")
    assert {"trials.csv", "history.png", "slices.png", "parallel.png"} <= set(parent["artifacts"])
    assert {run["tags"]["process.id"] for run in children} != {parent["tags"]["process.id"]}
    complete = [t for t in counted(project, "tiny") if t["state"] == "COMPLETE"]
    best = min(complete, key=lambda trial: trial["value"])
    assert parent["tags"]["best.trial"] == str(best["number"])
    child = children[0]
    assert child["params"]["model.depth"] == "1"
    assert child["params"]["train.threads"] == str(max((os.cpu_count() or 1) // 2, 1))
    assert {"seed.init", "model.width", "optimizer.learning_rate"} <= set(child["params"])
    with (project.folder / ".sweeps/tiny/findings/trials.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 12


def test_other_question_under_the_same_name_is_refused(project: Project) -> None:
    project.run(*command("sweep.name=asked", "sweep.trials=1"))
    for change in ("train.epochs=2", "model.activation=tanh", "prepare.seed=1"):
        output = project.run(*command("sweep.name=asked", "sweep.trials=2", change), status=1)
        assert "error: the search asked has begun with another question" in output
        assert (change.split("=")[0] if "prepare" not in change else "data") in output
    assert len(counted(project, "asked")) == 1


def test_mistake_is_one_line_before_any_trial(project: Project) -> None:
    for argument in ("sweep.trails=3", "model.width=8", "sweep.params.model.depht='range(1,3)'"):
        output = project.run(*command("sweep.name=mistake", argument), status=1)
        assert output.startswith("error: ")
        assert output.count("\n") == 1
    assert not (project.folder / ".sweeps/mistake/journal").exists()


def test_hopeless_search_stops(project: Project) -> None:
    output = project.run(
        *command("sweep.name=hopeless", "sweep.max_failed_fraction=0.1", "sweep.trials=90"),
        status=1,
    )
    assert "trials failed, more than sweep.max_failed_fraction, 0.1" in output
    assert "the loss is" in output.splitlines()[-1]
    assert runs(project, "hopeless")[0]["status"] == "FAILED"


def test_killed_workers_and_parents_lose_no_trial(project: Project) -> None:
    """Kill -9 of a worker and of the parent, then Ctrl-C; at last to the end, all one command."""
    again = command("sweep.name=killed", "sweep.trials=14")
    process = project.start(*again)
    _wait_for_trials(process, 2)
    _workers(process)[0].kill()
    _wait_for_trials(process, 2)  # it goes on
    workers = _workers(process)
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive, "workers end with their parent"
    process = project.start(*again)
    _wait_for_trials(process, 2)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert (process.returncode, output.strip()) == (130, "interrupted")
    assert len(counted(project, "killed")) >= 6
    assert runs(project, "killed")[0]["status"] == "KILLED"
    project.run(*again)
    check(project, "killed", 14)
    assert any(t["attrs"].get("void") == "its process died" for t in trials(project, "killed"))


def _wait_for_trials(process: "subprocess.Popen[str]", count: int) -> None:
    """Read what a search prints until so many trials have ended."""
    assert process.stdout is not None
    output = []
    for line in process.stdout:
        output.append(line)
        count -= line.startswith("trial ")
        if count == 0:
            return
    raise AssertionError("".join(output))


def _workers(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    children = psutil.Process(process.pid).children(recursive=True)
    living = [child for child in children if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in living if any("popen_loky" in part for part in child.cmdline())]


def test_seeds_are_replicates(project: Project) -> None:
    output = project.run("python", "-m", "pipeline.sweep", "sweep=seeds", "sweep.trials=3")
    assert "standard deviation" in output
    assert "3 seeds" in output
    values = [trial["value"] for trial in counted(project, "seeds")]
    assert f"mean {sum(values) / 3:.4f}" in output
    assert "best is" not in output
    refused = project.run("python", "-m", "pipeline.promote", "seeds", status=1)
    assert "error: seeds: its trials differ in their seeds alone" in refused
