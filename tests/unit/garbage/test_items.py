from pathlib import Path

import pytest

from pipeline.garbage.items import file_item, half_removed, remove_path, show_size, size_of


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_500_000, "1.5 MB"), (3e12, "3,000.0 GB")],
)
def test_size_has_a_unit(size: float, shown: str) -> None:
    assert show_size(size) == shown


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").write_text("x" * 1000)
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").write_text("xyz")
    (tmp_path / "a/link").symlink_to(tmp_path / "kept")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    assert size_of(tmp_path / "link") == 0
    assert size_of(tmp_path / "a") < 1000
    item = file_item("files", tmp_path / "a", tmp_path)
    assert item.name == "a"
    assert item.remove
    item.remove()
    remove_path(tmp_path / "link")
    remove_path(tmp_path / "link")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept/file").exists()


def test_folder_whose_removal_was_killed_is_found(tmp_path: Path) -> None:
    (tmp_path / ".removed-a").mkdir()
    (tmp_path / "a").mkdir()
    [item] = half_removed([tmp_path], tmp_path)
    assert item.name == ".removed-a"
    remove_path(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
    assert item.remove
    item.remove()
