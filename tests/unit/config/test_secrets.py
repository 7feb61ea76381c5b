"""Secrets of the environment must not reach composed.yaml, which DVC and MLflow keep."""

import json
from pathlib import Path

import pytest

from pipeline.config.composition import compose
from pipeline.config.overrides import to_grammar
from pipeline.system.errors import UserError
from tests.helpers.configs import assert_one_line, write_params


@pytest.mark.slow
@pytest.mark.parametrize(
    "value",
    [
        "${oc.env:PLANTED}",
        "a ${oc.env:PLANTED,none} b",
        "${oc.decode:${oc.env:PLANTED}}",
        "${${oc.env:PLANTED}}",
        "${oc.create:${oc.env:PLANTED}}",
        "${hydra:runtime.cwd}",
        "${ oc.env : PLANTED }",
        "${oc.select:train.epochs}",
        "${no.such.resolver:x}",
    ],
)
@pytest.mark.parametrize(
    ("key", "where"),
    [
        *(("tracking.run_name", where) for where in ("params", "arguments", "conf")),
        *((key, "params") for key in ("data.mirrors", "model.activation")),
    ],
)
def test_interpolation_stays_within_the_configuration(
    tmp_path: Path, conf: Path, monkeypatch: pytest.MonkeyPatch, value: str, key: str, where: str
) -> None:
    """Else composed.yaml, DVC's cache and MLflow would keep a secret of the environment."""
    monkeypatch.setenv("PLANTED", "planted")
    shown = [value] if key == "data.mirrors" else value
    section, name = key.split(".")
    params, arguments = write_params(tmp_path, "model: mlp"), []
    if where == "params":
        params = write_params(tmp_path, f"model: mlp\nset: {json.dumps({section: {name: shown}})}")
    elif where == "arguments":
        arguments = [f"{key}={to_grammar(shown)}"]
    else:
        preset = f"{section}: {json.dumps({name: shown})}\n"
        (conf / "experiment/default.yaml").write_text(f"# @package _global_\n{preset}")
    with pytest.raises(UserError) as error:
        compose(arguments, params, conf)
    assert_one_line(error.value, [key, "reads from outside the configuration", "${train.epochs}"])
    assert "planted" not in str(error.value)


def test_key_of_the_configuration_may_be_interpolated(tmp_path: Path) -> None:
    params = write_params(tmp_path, "set: {tracking: {run_name: '${data.name}: ${train.seed}'}}")
    assert compose(params=params).tracking.run_name == "mnist: 0"


@pytest.mark.parametrize("text", ["a: b", "{a: b}", "$a:b", "}:{", "$\\{a:b}"])
def test_text_that_only_looks_like_an_interpolation_is_kept(tmp_path: Path, text: str) -> None:
    params = write_params(tmp_path, f"set: {{tracking: {{run_name: {json.dumps(text)}}}}}")
    assert compose(params=params).tracking.run_name == text


@pytest.mark.parametrize(
    "address", ["http://me:planted@host/", "https://planted@host", "https://h/?sig=planted"]
)
def test_address_with_a_secret_is_refused(tmp_path: Path, address: str) -> None:
    for params, key in (
        (f"set: {{data: {{mirrors: [a, '{address}']}}}}", "data.mirrors.1"),
        (f"set: {{train: {{init_from: '{address}'}}}}", "train.init_from"),
    ):
        with pytest.raises(UserError) as error:
            compose(params=write_params(tmp_path, params))
        assert_one_line(error.value, [f"{key} (params.yaml)", "DATA_MIRROR", ".netrc"])
        assert "planted" not in str(error.value)
