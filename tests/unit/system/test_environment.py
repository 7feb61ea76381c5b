import os
import subprocess
import sys

import pytest

from pipeline.config.paths import REPOSITORY
from pipeline.system.environment import DEFAULTS, set_defaults


def test_defaults_are_set_where_the_user_set_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in DEFAULTS:
        monkeypatch.setenv(name, "")  # so that the variable is restored after the test
        monkeypatch.delenv(name)
    set_defaults()
    assert {name: os.environ[name] for name in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize("value", ["jax", ""])
def test_value_of_the_user_is_kept(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("KERAS_BACKEND", value)
    set_defaults()
    assert os.environ["KERAS_BACKEND"] == value


def test_importing_the_package_sets_them_before_any_library() -> None:
    code = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "import pipeline, os\n"
        "print(os.environ['KERAS_BACKEND'], os.environ['TF_ENABLE_ONEDNN_OPTS'])\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "print(new - sys.stdlib_module_names)"
    )
    output = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env={"TF_ENABLE_ONEDNN_OPTS": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert output.splitlines() == ["tensorflow 1", "{'pipeline'}"]
