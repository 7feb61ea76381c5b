import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest

from pipeline.data import idx
from pipeline.fetch import fetch
from pipeline.system.errors import UserError
from tests.helpers.commands import assert_error, assert_help
from tests.helpers.mirrors import CONTENTS, IMAGES, SETTINGS, Mirror, data_set, files_in


@pytest.mark.parametrize("suffix", [".gz", ""])
def test_good_mirror_gives_four_uncompressed_files(
    tmp_path: Path, mirrors: list[Mirror], suffix: str
) -> None:
    mirrors[0].serve(CONTENTS, suffix)
    fetch(data_set(mirrors[0].url + "/"), SETTINGS, tmp_path / "raw")
    assert files_in(tmp_path / "raw") == CONTENTS


def test_failed_mirror_is_tried_last_from_then_on(tmp_path: Path, mirrors: list[Mirror]) -> None:
    fetch(data_set(mirrors[0].url, mirrors[1].url), SETTINGS, tmp_path)
    assert mirrors[0].requested == ["train-images.gz", "train-images"]
    assert mirrors[1].requested == [f"{name}.gz" for name in CONTENTS]


def test_unpinned_file_is_stored_and_its_digest_printed(
    tmp_path: Path, mirrors: list[Mirror], capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(data_set(mirrors[1].url, pinned=False, sizes=False), SETTINGS, tmp_path)
    assert files_in(tmp_path) == CONTENTS
    assert f"sha256: {hashlib.sha256(IMAGES).hexdigest()}" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".gz", ""])
def test_folder_in_data_mirror_is_tried_first(
    tmp_path: Path, mirrors: list[Mirror], monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    for name, content in CONTENTS.items():
        (folder / f"{name}{suffix}").write_bytes(gzip.compress(content) if suffix else content)
    monkeypatch.setenv("DATA_MIRROR", str(folder))
    fetch(data_set(mirrors[1].url), SETTINGS, tmp_path / "raw")
    assert files_in(tmp_path / "raw") == CONTENTS
    assert mirrors[1].requested == []


def test_folder_of_kaggle_and_torchvision_gives_four_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path / "copy"))
    for name, content in CONTENTS.items():
        path = tmp_path / "copy/MNIST/raw" / name / name.replace("-", ".")
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    fetch(data_set("nowhere"), SETTINGS, tmp_path / "raw")
    assert files_in(tmp_path / "raw") == CONTENTS


def test_labels_of_qmnist_are_stored_as_they_are(tmp_path: Path) -> None:
    # QMNIST has eight 32-bit numbers for each image. The first is the label.
    rows = np.arange(12 * 8, dtype=np.int32).reshape(12, 8)
    contents = CONTENTS | {"test-labels": idx.dump(rows)}
    (tmp_path / "copy").mkdir()
    for name, content in contents.items():
        (tmp_path / "copy" / name).write_bytes(content)
    data = data_set(str(tmp_path / "copy"), pinned=False, sizes=False)
    fetch(data, SETTINGS, tmp_path / "raw")
    assert files_in(tmp_path / "raw") == contents


def test_url_in_data_mirror_is_tried_first(
    tmp_path: Path, mirrors: list[Mirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_MIRROR", mirrors[1].url)
    fetch(data_set(mirrors[0].url), SETTINGS, tmp_path)
    assert files_in(tmp_path) == CONTENTS
    assert mirrors[0].requested == []


def test_error_lists_each_mirror_and_what_to_do(tmp_path: Path, mirrors: list[Mirror]) -> None:
    closed = Mirror()
    closed.server.shutdown()
    closed.server.server_close()
    (tmp_path / "empty").mkdir()
    addresses = {
        mirrors[0].url: "404",
        closed.url: "refused",
        str(tmp_path / "empty"): "no train-images in it",
        str(tmp_path / "nowhere"): "no such folder",
        "x" * 300: "File name too long",
        "gopher://example.org": "gopher",
    }
    with pytest.raises(UserError) as error:
        fetch(data_set(*addresses), SETTINGS, tmp_path / "raw")
    first, *lines = str(error.value).splitlines()
    assert "train-images" in first
    for line, (address, reason) in zip(lines, addresses.items(), strict=False):
        assert line.startswith(f"  {address}: ")
        assert reason in line
    advice = "\n".join(lines[len(addresses) :])
    assert "DATA_MIRROR=" in advice
    assert "make demo" in advice
    assert files_in(tmp_path / "raw") == {}


@pytest.mark.slow
def test_help_says_what_the_stage_does(tmp_path: Path) -> None:
    assert_help("fetch", tmp_path, "IDX files", "mirror", "params.yaml")


@pytest.mark.slow
def test_missing_composed_file_is_one_line(tmp_path: Path) -> None:
    assert_error("fetch", tmp_path, message="composed.yaml is missing: run `dvc repro compose`")
