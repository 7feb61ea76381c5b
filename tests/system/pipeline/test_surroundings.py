"""Files and variables around the process change no result."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.system.environment import FIXED, ONEDNN
from tests.helpers.project import STAGES, Project

pytestmark = pytest.mark.slow

KERAS = {"floatx": "float16", "epsilon": 0.1, "image_data_format": "channels_first"}
STYLE = "font.size: 20\nfigure.facecolor: red\nimage.cmap: jet\ntext.usetex: true\n"
VARIABLES = {
    **{"KERAS_MAX_EPOCHS": "1", "KERAS_MAX_STEPS_PER_EPOCH": "3", "TF_USE_LEGACY_KERAS": "1"},
    **{ONEDNN: str(1 - int(FIXED[ONEDNN])), "TF_NUM_INTRAOP_THREADS": "1", "OMP_NUM_THREADS": "1"},
    **{"TF_XLA_FLAGS": "--tf_xla_auto_jit=2", "XLA_FLAGS": "--none", "MPLBACKEND": "none"},
    **{"NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3", "LOKY_MAX_CPU_COUNT": "none"},
    **{"TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    **{"PYTHONHASHSEED": "7", "PYTHONOPTIMIZE": "2", "PYTHONDONTWRITEBYTECODE": "1"},
}


@pytest.mark.long
def test_surroundings_change_no_byte(edited: Project, tmp_path: Path) -> None:
    lock = edited.read("dvc.lock")
    for folder, backend in ((".keras", "jax"), ("keras", "none")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "keras.json").write_text(json.dumps({**KERAS, "backend": backend}))
    (tmp_path / ".config/matplotlib").mkdir(parents=True)
    (tmp_path / ".config/matplotlib/matplotlibrc").write_text(STYLE)
    edited.write("matplotlibrc", STYLE)
    home = {"HOME": str(tmp_path), "KERAS_HOME": str(tmp_path / "keras")}
    try:
        assert replace(edited, variables={**VARIABLES, **home}).repro("--force") == STAGES
    finally:
        (edited.folder / "matplotlibrc").unlink()
    assert edited.read("dvc.lock") == lock


WRONG = ("[]", '{"floatx": "int8"}', '{"epsilon": 1}')


@pytest.mark.parametrize(
    "content", ["{", *(pytest.param(text, marks=pytest.mark.long) for text in WRONG)]
)
def test_wrong_file_of_keras_is_not_read(edited: Project, tmp_path: Path, content: str) -> None:
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras/keras.json").write_text(content)
    project = replace(edited, variables={"HOME": str(tmp_path)})
    project.run("python", "-m", "pipeline.evaluate")


def test_number_of_class_names_is_checked_before_the_training(edited: Project) -> None:
    name = "conf/data/mnist_sample.yaml"
    edited.write(name, edited.read(name).replace("num_classes: 10", "num_classes: null"))
    edited.write("params.yaml", "data: mnist_sample\nset: {data.class_names: [a, b]}\n")
    output = edited.run("dvc", "repro", status=255)
    assert "error: data.class_names: 2 names for the 10 classes of the data" in output
    assert "epoch 1" not in output
