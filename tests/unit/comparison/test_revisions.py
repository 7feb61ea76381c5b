"""In repositories of a few files; tests/system/pipeline/test_compare.py has real experiments."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.comparison.revisions import WORKSPACE, find_revision, known_names
from pipeline.system.files import write_json, write_text
from pipeline.training.history import write_history
from tests.helpers.results import history


def run(*command: str) -> str:
    shown = subprocess.run(command, check=True, capture_output=True, text=True)
    return shown.stdout.strip()


def write(loss: float, epochs: int = 4) -> None:
    """Write what `dvc repro` would leave in the workspace."""
    write_history(history(0.9, loss), Path("models/history.csv"))
    write_json(Path("reports/metrics.json"), {"test_accuracy": 1 - loss})
    params = {"train": {"epochs": epochs}, "model": {"_target_": "pipeline.models.mlp"}}
    stages: dict[str, Any] = {"compose": {"params": {"params.yaml": {"model": "mlp"}}}, "fetch": {}}
    stages |= {"train": {"params": {"composed.yaml": params}}}
    write_text(Path("dvc.lock"), yaml.safe_dump({"stages": stages}))


def commit() -> str:
    run("git", "add", "--all")
    run("git", "commit", "--quiet", "--allow-empty", "--message", "test")
    return run("git", "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two commits: loss 0.5 and 0.25. The workspace has 0.125."""
    monkeypatch.chdir(tmp_path)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Test")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "test@example.org")
    run("git", "init", "--quiet", "--initial-branch=main")
    write(0.5, epochs=3)
    commit()
    write(0.25)
    commit()
    write(0.125)
    return tmp_path


@pytest.mark.usefixtures("repository")
def test_workspace_and_revisions_have_their_own_results() -> None:
    for name, loss in ((WORKSPACE, 0.125), ("HEAD", 0.25), ("main~1", 0.5)):
        found = find_revision(name)
        assert found
        assert (found.name, found.state, found.metric("val_loss")) == (name, "", loss)
        assert found.metric("test_accuracy") == 1 - loss
        assert found.settings == {"model": "mlp", "train.epochs": "3" if loss == 0.5 else "4"}


@pytest.mark.usefixtures("repository")
def test_experiment_is_found_by_its_name() -> None:
    base = run("git", "rev-parse", "HEAD")
    write(0.0625)
    run("git", "update-ref", f"refs/exps/{base[:2]}/{base[2:]}/wide", commit())
    run("git", "update-ref", "refs/exps/exec/EXEC_HEAD", base)
    run("git", "reset", "--quiet", "--hard", base)
    found = find_revision("wide")
    assert found
    assert found.metric("val_loss") == 0.0625
    assert known_names() == [WORKSPACE, "main", "wide"]


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize("name", ["nowhere", "--all", "", "HEAD~9", "a b"])
def test_unknown_name_is_none(name: str) -> None:
    assert find_revision(name) is None


@pytest.mark.slow
@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize(
    ("name", "text", "state"),
    [
        ("models/history.csv", "epoch,val_loss\n1,x\n", "unreadable"),
        ("models/history.csv", "", "unreadable"),
        ("models/history.csv", "epoch\n1\n", "unreadable"),
        ("reports/metrics.json", "{", "unreadable"),
        ("reports/metrics.json", "[]", "unreadable"),
        ("dvc.lock", "stages: 3", "unreadable"),
        ("dvc.lock", "{", "unreadable"),
        ("dvc.lock", None, "no results"),
        ("reports/metrics.json", None, "no results"),
    ],
)
def test_damaged_or_missing_results_are_named(name: str, text: str | None, state: str) -> None:
    if text is None:
        Path(name).unlink()
    else:
        Path(name).write_text(text)
    commit()
    for revision in (WORKSPACE, "HEAD"):
        found = find_revision(revision)
        assert found
        assert (found.state, found.history) == (state, [])
        assert found.problem.startswith(f"{name} is damaged" if state == "unreadable" else "")


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize("name", ["models/history.csv", "reports/metrics.json", "dvc.lock"])
def test_folder_in_the_place_of_a_file_is_named(name: str) -> None:
    Path(name).unlink()
    Path(name).mkdir()
    found = find_revision(WORKSPACE)
    assert found
    assert found.state == "unreadable"
    assert found.problem.startswith(f"{name} is damaged: ")
    assert found.problem.endswith("; `make repro` restores it")


@pytest.mark.slow
@pytest.mark.usefixtures("repository")
def test_older_revision_has_its_results_in_dvc() -> None:
    write(0.75)
    run("git", "rm", "--quiet", "-r", "--cached", "models", "reports", "dvc.lock")
    Path(".gitignore").write_text("/models/\n/reports/\n")
    stages = {"train": {"cmd": "true", "outs": [{"models": {"persist": True}}]}}
    stages |= {"evaluate": {"cmd": "true", "outs": [{"reports": {"persist": True}}]}}
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    Path("dvc.lock").unlink()
    run("dvc", "init", "--quiet")
    run("dvc", "repro", "--quiet")
    commit()
    write(0.125)
    found = find_revision("HEAD")
    assert found
    assert found.metric("val_loss") == 0.75
