"""dvc.yaml names the code that each stage runs: a forgotten dependency would not rerun it."""

import fnmatch
import json

import pytest

from pipeline.config.stages import stage_code, stage_names
from tests.helpers.project import REPOSITORY, Project

pytestmark = pytest.mark.slow

# What stages import and dvc.yaml leaves out, because it changes no output.
CHANGES_NO_OUTPUT = {
    "pipeline/**__init__.py": "docstrings, and calls of system/environment.py and imports.py",
    "pipeline/artifacts/cost.py": "refuses model files, and changes none",
    "pipeline/artifacts/inspection.py": "refuses model files, and changes none",
    "pipeline/artifacts/initial.py": "finds the initial model, as uri.py does",
    "pipeline/artifacts/model_path.py": "finds the initial model, as uri.py does",
    "pipeline/artifacts/own_code.py": "imports modules on which train depends by name",
    "pipeline/artifacts/uri.py": "finds the initial model, which is named in the configuration",
    "pipeline/system/cli.py": "starts and ends the process",
    "pipeline/system/colour.py": "words of errors",
    "pipeline/system/dvc.py": "runs DVC, and checks its files",
    "pipeline/system/errors.py": "words of errors",
    "pipeline/system/imports.py": "lines that TensorFlow prints, and libraries that are not used",
    "pipeline/system/git.py": "for MLflow: which changes are not committed",
    "pipeline/system/process.py": "identifies the process in MLflow",
    "pipeline/system/redaction.py": "words of messages",
    "pipeline/tracking/*": "MLflow is not an output of DVC",
    "pipeline/training/watch.py": "looks at the network, for MLflow and for sweeps",
}
# The configuration is the output of compose, and the parameters of the stages after it.
LOADS_THE_CONFIG = {
    *(f"pipeline/config/{name}.py" for name in ("allowed", "overrides", "paths", "schema")),
    "pipeline/config/sources.py",
    *(f"pipeline/config/{name}.py" for name in ("stages", "targets", "types", "validation")),
    "pipeline/config/yaml_files.py",
    "pipeline/system/versions.py",
}
# What evaluate needs to complete the MLflow run.
COMPLETES_THE_RUN = {
    "pipeline/evaluation/paired.py",
    "pipeline/system/seeds.py",
    "pipeline/training/checkpoint.py",
    "pipeline/training/history.py",
    "pipeline/training/run_completion.py",
}
# What train needs to describe the network and itself to MLflow.
DESCRIBES_THE_TRAINING = {
    "pipeline/evaluation/corruptions.py",
    "pipeline/evaluation/network.py",
    "pipeline/system/text.py",
}
CODE = """
import json, runpy, sys
from pathlib import Path
stage, root = sys.argv[1], Path.cwd()
sys.argv[1:] = []
try:
    runpy.run_module(f"pipeline.{stage}", run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert not end.code, end.code
files = {m.__file__ for n, m in sys.modules.items() if n.split(".")[0] == "pipeline"}
print(json.dumps(sorted(Path(f).relative_to(root).as_posix() for f in files if f)))
"""


@pytest.mark.parametrize("stage", stage_names())
def test_stage_depends_on_the_code_that_it_imports(edited: Project, stage: str) -> None:
    output = edited.run("python", "-c", CODE, stage)
    imported = {*json.loads(output.splitlines()[-1]), f"pipeline/{stage}.py"}
    if stage not in ("train", "evaluate"):
        imported -= {"pipeline/system/environment.py"}  # settings of TensorFlow and MLflow
    if stage != "compose":
        imported -= LOADS_THE_CONFIG
    if stage == "evaluate":
        imported -= COMPLETES_THE_RUN
    if stage == "train":
        imported -= DESCRIBES_THE_TRAINING
    needed = {
        name
        for name in imported
        if not any(fnmatch.fnmatch(name, pattern) for pattern in CHANGES_NO_OUTPUT)
    }
    named = {path.relative_to(REPOSITORY).as_posix() for path in stage_code(stage)}
    # Compose reads the signatures in these two and imports neither. Evaluate imports the models if
    # the model file names a layer in them.
    by_name = {"pipeline/augment.py", "pipeline/models.py"}
    assert named - by_name == needed - by_name
    models = {"compose": by_name, "train": by_name, "evaluate": {"pipeline/models.py"}}
    assert named & by_name == models.get(stage, set())
