import json
from pathlib import Path

import pytest
import yaml

from tests.helpers.project import Project

pytestmark = pytest.mark.slow


def test_verify_finds_the_same_files(sample: Project) -> None:
    before, runs = sample.run("git", "status", "--porcelain"), sample.runs()
    output = sample.run("python", "-m", "pipeline.verify")
    assert output.splitlines()[-1] == "37 of 37 files match dvc.lock"
    assert sample.run("git", "status", "--porcelain") == before
    assert sample.runs() == runs, "its run is not in the store of the project"


@pytest.mark.long
def test_verify_names_each_file_that_differs(sample: Project, tmp_path: Path) -> None:
    """In a clone whose dvc.lock has wrong digests of some files."""
    sample.run("git", "clone", "--quiet", ".", str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    lock = yaml.safe_load(clone.read("dvc.lock"))
    stages = lock["stages"]
    stages["train"]["outs"][0]["md5"] = "0" * 32
    # The list of one folder is in the cache, with one wrong digest; that of the other is not.
    raw, prepared = stages["fetch"]["outs"][0], stages["prepare"]["outs"][0]
    cache = sample.folder / ".dvc/cache/files/md5"
    listed = json.loads((cache / raw["md5"][:2] / raw["md5"][2:]).read_text())
    listed[0]["md5"] = "1" * 32
    raw["md5"] = "2" * 32 + ".dir"
    target = clone.folder / ".dvc/cache/files/md5/22" / ("2" * 30 + ".dir")
    target.parent.mkdir(parents=True)
    target.write_text(json.dumps(listed))
    prepared["md5"] = "3" * 32 + ".dir"
    clone.write("dvc.lock", yaml.safe_dump(lock))
    output = clone.run("python", "-m", "pipeline.verify", status=1)
    differs = [line for line in output.splitlines() if line.startswith("differs")]
    assert differs == [
        f"differs: data/raw/{listed[0]['relpath']}",
        "differs: data/prepared",
        f"differs: {stages['train']['outs'][0]['path']}",
    ]


def test_verify_refuses_changed_inputs(sample: Project, tmp_path: Path) -> None:
    sample.run("git", "clone", "--quiet", ".", str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    clone.write("pipeline/data/idx.py", clone.read("pipeline/data/idx.py") + "# a line\n")
    output = clone.run("python", "-m", "pipeline.verify", status=1)
    assert output.startswith("error: changed since dvc.lock was written: pipeline/data/idx.py")
    (clone.folder / "dvc.lock").unlink()
    assert "there is no dvc.lock" in clone.run("python", "-m", "pipeline.verify", status=1)
