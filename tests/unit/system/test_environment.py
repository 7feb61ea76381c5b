import os
import subprocess
import sys

import pytest

from pipeline.config.paths import REPOSITORY
from pipeline.system.environment import DEFAULTS, FIXED, ONEDNN, set_environment

COMMAND = "from pipeline.system import cli; cli.run(lambda: 0)"


def run(code: str, **variables: str) -> str:
    """Run code in another process with these variables only; return what it printed."""
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, cwd=REPOSITORY, env=variables, capture_output=True, text=True, check=True
    ).stdout


def test_defaults_are_set_where_the_user_set_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in {*DEFAULTS, *FIXED}:
        monkeypatch.setenv(name, "")  # so that the variable is restored after the test
        monkeypatch.delenv(name)
    set_environment()
    assert {name: os.environ[name] for name in {*DEFAULTS, *FIXED}} == {**DEFAULTS, **FIXED}


@pytest.mark.parametrize("name", FIXED)
def test_what_may_change_a_result_is_not_the_users_choice(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "another")
    set_environment()
    assert os.environ[name] == FIXED[name]


@pytest.mark.parametrize(
    "name",
    [
        *("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "KERAS_NNX_ENABLED"),
        *("TF_XLA_FLAGS", "XLA_FLAGS", "TF_FUNCTION_JIT_COMPILE_DEFAULT", "TF_USE_LEGACY_KERAS"),
        *("TF_NUM_INTRAOP_THREADS", "TF_DETERMINISTIC_OPS", "TF_SET_ONEDNN_FPMATH_MODE"),
        *("NVIDIA_TF32_OVERRIDE", "NPY_DISABLE_CPU_FEATURES", "LOKY_MAX_CPU_COUNT"),
    ],
)
def test_variable_that_may_change_a_result_is_removed(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1")
    set_environment()
    assert name not in os.environ


@pytest.mark.parametrize(
    "name",
    [*DEFAULTS, "TF_CPP_VMODULE", "TF_FORCE_GPU_ALLOW_GROWTH", "CUDA_VISIBLE_DEVICES", "TFX"],
)
def test_other_values_of_the_user_are_kept(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "3")
    set_environment()
    assert os.environ[name] == "3"


def test_importing_the_package_sets_them_before_any_library() -> None:
    code = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "import pipeline, os\n"
        "print(os.environ['KERAS_BACKEND'], os.environ['TF_ENABLE_ONEDNN_OPTS'])\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "print(new - sys.stdlib_module_names)"
    )
    other = str(1 - int(FIXED[ONEDNN]))
    output = run(code, KERAS_BACKEND="jax", **{ONEDNN: other})
    assert output.splitlines() == [f"tensorflow {FIXED[ONEDNN]}", "{'pipeline'}"]


@pytest.mark.parametrize("backend", ["jax", "torch", "Tensorflow", "two\nlines"])
def test_other_backend_is_refused_in_one_line(backend: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as error:
        run(COMMAND, KERAS_BACKEND=backend)
    assert (error.value.returncode, error.value.stdout) == (1, "")
    assert error.value.stderr == (
        f"error: KERAS_BACKEND is {backend!r}, but this pipeline runs on TensorFlow only: "
        "run `unset KERAS_BACKEND`\n"
    )


@pytest.mark.parametrize("backend", ["", "tensorflow"])
def test_backend_of_this_pipeline_is_accepted(backend: str) -> None:
    run(COMMAND, KERAS_BACKEND=backend)
