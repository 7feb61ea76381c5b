"""Each test fails on the day when a library mends what this project works around."""

import subprocess
from pathlib import Path

import optuna
import pytest
from optuna.samplers import GridSampler


@pytest.mark.slow
def test_dvc_still_writes_its_lock_in_place(tmp_path: Path) -> None:
    """When it replaces the file, `pipeline/repair.py` and its line in the Makefile can go."""

    def run(*command: str) -> None:
        subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)

    (tmp_path / "dvc.yaml").write_text("stages: {copy: {cmd: cp a b, deps: [a], outs: [b]}}\n")
    (tmp_path / "a").write_text("one")
    run("dvc", "init", "--quiet", "--no-scm")
    run("dvc", "repro", "--quiet")
    lock = tmp_path / "dvc.lock"
    before, text = lock.stat().st_ino, lock.read_text()
    (tmp_path / "a").write_text("two")
    run("dvc", "repro", "--quiet")
    assert lock.read_text() != text
    assert lock.stat().st_ino == before


def test_optuna_still_stops_a_study_that_has_no_loop() -> None:
    """When it does not, `AskTellStudy` in `pipeline/sweeps/storage.py` can go."""
    study = optuna.create_study(sampler=GridSampler({"x": [1]}))
    trial = study.ask()
    trial.suggest_int("x", 0, 3)
    with pytest.raises(RuntimeError, match="stop"):
        study.tell(trial, 0.0)
