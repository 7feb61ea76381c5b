"""The changes that were not committed when a run started. The run keeps them as a patch."""

import tempfile
from pathlib import Path

import mlflow

from pipeline.config.stages import input_folders, output_paths
from pipeline.system.files import TEMPORARY
from pipeline.system.git import ask_git, file_names, patch_of
from pipeline.tracking.store import set_tags

PATCH = "uncommitted.patch"  # the artifact of the run
LEFT_OUT = "git.left_out"  # the tag that names changed files which the patch does not have
_LARGEST = 1_000_000  # bytes of a new file


def uncommitted() -> list[str]:
    """The files in the working directory that differ from the last commit.

    Results are left out: each `dvc repro` changes them.
    """
    if not ask_git("rev-parse", "--verify", "--quiet", "HEAD"):
        return []
    changed = file_names("diff", "--name-only", "-z", "--relative", "HEAD")
    results = ["dvc.lock", *output_paths()]
    return sorted(
        name
        for name in {*changed, *_new_files()}
        if not any(Path(name).is_relative_to(result) for result in results)
    )


def uncommitted_patch() -> tuple[bytes, list[str]]:
    """The uncommitted changes as a patch, and the names of the files that it does not have.

    It has new files only if the stages may read them: another one may hold a secret. A new file of
    more than a megabyte is left out too.
    """
    if not (changed := uncommitted()):
        return b"", []
    new = {*_new_files()}
    left_out = [
        name
        for name in changed
        if name in new
        and (
            Path(name).parts[0] not in {*input_folders(), "params.yaml", "dvc.yaml"}
            or Path(name).lstat().st_size > _LARGEST
        )
    ]
    kept = [name for name in changed if name not in left_out]
    return patch_of(kept) if kept else b"", left_out


def log_changes(run_id: str) -> None:
    """Log the uncommitted changes as an artifact of a run, in place of earlier ones.

    MLflow cannot remove an artifact. An empty file stands for no changes after earlier ones.
    """
    patch, left_out = uncommitted_patch()
    client = mlflow.MlflowClient()
    if patch or any(artifact.path == PATCH for artifact in client.list_artifacts(run_id)):
        with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:
            path = Path(folder) / PATCH
            path.write_bytes(patch)
            client.log_artifact(run_id, str(path))
    if left_out or LEFT_OUT in client.get_run(run_id).data.tags:
        set_tags(run_id, {LEFT_OUT: ", ".join(left_out)[:5000]})


def _new_files() -> list[str]:
    """Files that git does not know, apart from ignored ones."""
    return file_names("ls-files", "-z", "--others", "--exclude-standard")
