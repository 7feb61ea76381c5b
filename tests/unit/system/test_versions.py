import importlib.metadata
from pathlib import Path

import pytest

from pipeline.system.versions import library_versions, tensorflow_requirement


def test_versions_are_the_installed_ones() -> None:
    versions = library_versions()
    assert list(versions) == ["prepare", "train", "evaluate"]
    assert versions["prepare"] == f"numpy {importlib.metadata.version('numpy')}"
    assert f"keras {importlib.metadata.version('keras')}, numpy" in versions["train"]
    name, _, number = tensorflow_requirement().partition("==")
    assert name in ("tensorflow", "tensorflow-cpu")
    assert versions["train"].endswith(f", tensorflow {number}")
    assert "pillow" in versions["evaluate"]
    assert "pillow" not in versions["train"]


def test_another_version_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "keras-99.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: keras\nVersion: 99.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    library_versions.cache_clear()
    try:
        assert "keras 99.0, " in library_versions()["train"]
        assert "keras 99.0, " in library_versions()["evaluate"]
    finally:
        library_versions.cache_clear()
