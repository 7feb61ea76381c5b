import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml

from pipeline.artifacts.initial import digest_now, initial_digest, initial_model
from pipeline.config.composition import compose
from pipeline.config.schema import Config
from pipeline.config.yaml_files import dump_config
from pipeline.system.errors import UserError
from pipeline.system.files import sha256
from pipeline.tracking.store import connect
from pipeline.tracking.tags import MODEL_DIGEST


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def record(folder: Path) -> Callable[..., None]:
    """Write the dvc.lock of a training that started from a model with a digest."""

    def write(cfg: Config, digest: str, **more: Any) -> None:
        composed = yaml.safe_load(dump_config(cfg))
        keys = ("model", "optimizer", "train")
        params = {key: composed[key] for key in keys} | {"initial_model": digest}
        params["versions.train"] = composed["versions"]["train"]
        stage = {"cmd": "python -m pipeline.train", "params": {"composed.yaml": params}, **more}
        text = yaml.safe_dump({"stages": {"train": stage}})
        (folder / "dvc.lock").write_text(text.replace("1.0e-05", "1e-05"))  # as DVC writes it

    return write


def test_training_without_an_initial_model_has_no_digest() -> None:
    with initial_model(None, "") as path:
        assert path is None
    assert digest_now(None) == initial_digest(compose([])) == ""


def test_digest_follows_the_content_of_a_file(folder: Path, record: Callable[..., None]) -> None:
    cfg, path = compose(["train.init_from=a.keras"]), folder / "a.keras"
    record(cfg, "before")
    path.write_bytes(b"one")
    first = initial_digest(cfg)
    assert first == sha256(path)
    path.write_bytes(b"two")
    assert initial_digest(cfg) not in ("before", first)


def test_clone_without_the_file_has_the_digest_of_dvc_lock(record: Callable[..., None]) -> None:
    record(compose(["train.init_from=a.keras"]), "abc")
    assert initial_digest(compose(["train.init_from=a.keras"])) == "abc"
    with pytest.raises(UserError, match=r"train\.init_from: there is no model file a\.keras"):
        initial_digest(compose(["train.init_from=a.keras", "train.epochs=5"]))


@pytest.mark.parametrize("uri", ["models/model.keras", "git:HEAD", "models:/digits@champion"])
def test_address_that_may_lead_to_the_result_stays_the_model_of_the_training(
    folder: Path, record: Callable[..., None], uri: str
) -> None:
    """Otherwise each `dvc repro` would train again, from the result of the one before."""
    started = [f"train.init_from='{uri}'", "optimizer.learning_rate=1e-5"]
    record(compose(started), "abc")
    (folder / "models").mkdir()
    (folder / "models/model.keras").write_bytes(b"result")
    assert initial_digest(compose(started)) == "abc"


def test_training_with_other_settings_starts_from_the_model_of_now(
    record: Callable[..., None], folder: Path
) -> None:
    record(compose(["train.init_from=a.keras"]), "abc")
    (folder / "a.keras").write_bytes(b"now")
    for overrides in (["train.epochs=5"], ["train.init_from=./a.keras"]):
        cfg = compose(["train.init_from=a.keras", *overrides])
        assert initial_digest(cfg) == sha256(folder / "a.keras")
    lock = (folder / "dvc.lock").read_text()
    (folder / "dvc.lock").write_text(lock.replace("versions.train:", "train.key_of_before:"))
    assert initial_digest(compose(["train.init_from=a.keras"])) == sha256(folder / "a.keras")


@pytest.mark.slow
def test_result_of_a_killed_training_is_not_where_the_next_one_starts(
    folder: Path, record: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVC removes it before it trains again, so models/model.keras is that of dvc.lock."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)  # for `dvc`
    subprocess.run(["dvc", "init", "--no-scm", "--quiet"], check=True)
    model = folder / "models/model.keras"
    model.parent.mkdir()
    model.write_bytes(b"model of dvc.lock")
    subprocess.run(["dvc", "add", "--quiet", str(model)], check=True)
    [out] = yaml.safe_load((folder / "models/model.keras.dvc").read_text())["outs"]
    record(compose([]), "", outs=[{**out, "path": "models/model.keras"}])
    before = sha256(model)
    model.unlink()
    model.write_bytes(b"result of a killed training")
    assert initial_digest(compose(["train.init_from=models/model.keras"])) == before


@pytest.mark.slow
def test_model_is_found_in_its_run_when_the_address_leads_to_another_one(
    folder: Path, tracked: Path
) -> None:
    connect("digits")
    model = folder / "data/model.keras"
    model.parent.mkdir()
    model.write_bytes(b"wanted")
    with mlflow.start_run() as run:
        mlflow.log_artifact(str(model), "model/data")
        mlflow.set_tag(MODEL_DIGEST, sha256(model))
    (folder / "a.keras").write_bytes(b"another")
    with initial_model("a.keras", sha256(model)) as path:
        assert path is not None
        assert path.read_bytes() == b"wanted"
    mlflow.delete_run(run.info.run_id)
    with (
        pytest.raises(UserError, match=r"^train\.init_from: a\.keras is now another model"),
        initial_model("a.keras", sha256(model)),
    ):
        pass
