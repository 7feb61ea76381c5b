import signal
from pathlib import Path

import pytest
from project import Project

pytestmark = pytest.mark.slow

# DVC, killed in the middle of writing dvc.lock: at the first number that it writes as YAML.
KILLED = """
import os, signal, sys
import ruamel.yaml.representer as representer
from dvc.cli import main
def kill(*_): os.kill(os.getpid(), signal.SIGKILL)
representer.RoundTripRepresenter.add_representer(int, kill)
main(["repro", "--force", "prepare"])
"""


def test_dvc_killed_while_it_writes_its_lock_leaves_the_one_before(tmp_path: Path) -> None:
    project = Project.copy(tmp_path, "data: mnist_sample\n")
    project.repro("prepare")
    lock = project.read("dvc.lock")
    project.run("python", "-c", KILLED, status=-signal.SIGKILL)
    assert project.read("dvc.lock") == lock
    assert project.repro("prepare") == []
