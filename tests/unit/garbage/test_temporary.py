import os
import re
import tempfile
import time
from pathlib import Path

import pytest

from pipeline.config.paths import REPOSITORY
from pipeline.garbage.temporary import temporary_garbage


def test_what_killed_commands_left_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, system = tmp_path / "project", tmp_path / "tmp"
    monkeypatch.setattr(tempfile, "tempdir", str(system))
    left = [
        *(".composed.yaml.ab.part", "models/.model.keras.cd.part", "data/raw/.images.ef.part"),
        *(".dvc/tmp/exps/tmpab/x", ".dvc/tmp/exps/standalone/tmpcd/x"),
    ]
    old = ["build/.a.png.ab.part", "build/mnist-pipeline-ab/site/index.html"]
    new = ["build/.b.png.ab.part", "build/mnist-pipeline-cd/site/index.html", "build/site/a.html"]
    kept = [*new, "models/model.keras", ".dvc/tmp/exps/run/x", ".dvc/cache/.a.part", "notes.part"]
    for name in (*left, *old, *kept):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
    for name in ("mnist-pipeline-old", "mnist-pipeline-new", "tmpold"):
        (system / name).mkdir(parents=True)
        days = name.endswith("old") * 2 * 24 * 3600
        os.utime(system / name, (time.time() - days,) * 2)
    before = (time.time() - 2 * 24 * 3600,) * 2
    for name in ("build/.a.png.ab.part", "build/mnist-pipeline-ab"):
        os.utime(root / name, before)
    items = list(temporary_garbage(root))
    assert len(items) == len(left) + len(old) + 1
    for item in items:
        assert item.remove
        item.remove()
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert files == {*kept}
    assert {path.name for path in system.iterdir()} == {"mnist-pipeline-new", "tmpold"}


def test_every_temporary_folder_has_a_name_that_is_found() -> None:
    made = re.compile(r"(?:TemporaryDirectory|mkdtemp)\((?!prefix=TEMPORARY)")
    files = (REPOSITORY / "pipeline").rglob("*.py")
    assert [path for path in files if made.search(path.read_text("utf-8"))] == []
