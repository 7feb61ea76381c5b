from pathlib import Path

import pytest
import yaml

from pipeline.config import stages
from pipeline.config.paths import REPOSITORY
from pipeline.config.stages import (
    module_name,
    output_paths,
    stage_code,
    stage_names,
    tracked_keys,
)
from pipeline.system.errors import UserError


def test_stages_are_in_the_order_in_which_they_run() -> None:
    assert stage_names() == ["compose", "fetch", "prepare", "train", "evaluate"]


@pytest.mark.parametrize("stage", stage_names())
def test_code_of_a_stage_exists_and_holds_its_own_file(stage: str) -> None:
    files = stage_code(stage)
    assert REPOSITORY / f"pipeline/{stage}.py" in files
    assert files == sorted(set(files))
    assert [file for file in files if not file.is_file() or file.suffix != ".py"] == []


def test_code_is_read_from_dvc_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder stands for the Python files in it, and other dependencies are left out."""
    for name in ("pipeline/train.py", "pipeline/data/b.py", "pipeline/data/sub/a.py", "own.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "pipeline/data/notes.txt").touch()
    deps = ["pipeline/train.py", "conf", "data/prepared", "pipeline/data", "own.py", "a.csv"]
    dvc = {"stages": {"train": {"cmd": "true", "deps": deps}, "evaluate": {"deps": ["conf"]}}}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump(dvc, sort_keys=False))
    monkeypatch.setattr(stages, "REPOSITORY", tmp_path)
    assert stage_names() == ["train", "evaluate"]
    (tmp_path / "a.csv").touch()
    assert [str(path.relative_to(tmp_path)) for path in stage_code("train")] == [
        "own.py",
        "pipeline/data/b.py",
        "pipeline/data/sub/a.py",
        "pipeline/train.py",
    ]
    assert stage_code("evaluate") == []


def test_outputs_are_read_from_dvc_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outs = ["models", {"data": {"cache": False}}]
    dvc = {"stages": {"train": {"outs": outs, "metrics": ["a.json"]}, "plot": {"plots": ["b"]}}}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump(dvc, sort_keys=False))
    monkeypatch.setattr(stages, "REPOSITORY", tmp_path)
    assert output_paths() == ["models", "data", "a.json", "b"]


def test_module_has_the_name_by_which_it_is_imported() -> None:
    assert module_name(REPOSITORY / "pipeline/models.py") == "pipeline.models"
    assert module_name(REPOSITORY / "pipeline/config/__init__.py") == "pipeline.config"
    assert module_name(REPOSITORY / "own.py") == "own"


def test_tracked_keys_leave_out_what_changes_no_result() -> None:
    keys = tracked_keys()
    assert {"data.digest", "model", "optimizer", "train", "evaluate"} <= set(keys)
    assert [key for key in keys if key.startswith(("tracking", "fetch", "data.mirrors"))] == []


@pytest.mark.parametrize("content", [b"stages: [", b"\xff\0", b"[]", b"stages: 3", b"", None])
def test_damaged_file_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    path = tmp_path / "dvc.yaml"
    path.mkdir() if content is None else path.write_bytes(content)
    monkeypatch.setattr(stages, "REPOSITORY", tmp_path)
    with pytest.raises(UserError, match=r"^dvc\.yaml cannot be read: [^\n]+; `git restore dvc"):
        stage_names()
