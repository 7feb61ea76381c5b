"""Garbage in the local MLflow store: rows and their artifacts, and artifacts without a row.

`mlflow gc` (3.17) also removes what a version of a registered model uses, and leaves logged models
and folders behind. So it gets the ids of what is listed.
"""

import subprocess
import sys
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline.garbage.items import Item, file_item, half_removed, remove_path, size_of
from pipeline.garbage.names import ids_in
from pipeline.garbage.rows import Rows, read_rows
from pipeline.system.errors import UserError, one_line
from pipeline.tracking.store import mlflow_errors, store_lock

RUNS = "runs deleted in MLflow"
MODELS = "logged models that are deleted, or whose run has gone or left them unfinished"
EXPERIMENTS = "experiments deleted in MLflow"
ARTIFACTS = "artifacts of no run and no logged model"
_BATCH = 500  # ids for one `mlflow gc`, as the length of a command line is limited


def store_garbage(root: Path) -> tuple[list[Item], Rows]:
    """The garbage in the local store, in the order in which it can be removed.

    Args:
        root: the root of the repository.

    Returns:
        The garbage, and the rows among which it was found.

    Raises:
        UserError: when the store cannot be read.
    """
    artifacts = root / "mlruns"
    # Before the rows are read: a run and a model have a row before they have a folder.
    folders = [*_folders(artifacts), *_folders(artifacts / "models")]
    rows = read_rows(root)
    named = rows.runs.keys() | rows.models.keys() | rows.used
    items = [
        *_row_items(rows),
        *(file_item(ARTIFACTS, path, root) for path in folders if path.name not in named),
        *half_removed((artifacts, artifacts / "models"), root),
    ]
    return items, rows


def kept_runs(rows: Rows) -> list[str]:
    """Why runs stay although they are deleted, in a line each."""
    lines = []
    for run in sorted(rows.deleted_runs - rows.garbage_runs):
        if run in rows.alive:
            reason = "its process may be running"
        elif rows.folder(run):
            reason = "a registered model, a commit or a sweep uses it"
        else:
            reason = "its artifacts are not in mlruns/ of this folder"
        lines.append(f"run {run} is deleted, but {reason}")
    return lines


def remove_rows(items: Iterable[Item], root: Path, uri: str) -> None:
    """Remove runs, logged models and experiments, and their artifacts.

    Those that are in use again stay: a run can be restored in MLflow at any moment.

    Args:
        items: the garbage that was listed.
        root: the root of the repository.
        uri: the address of the store, `sqlite:///<root>/mlflow.db`.

    Raises:
        UserError: when `mlflow gc` fails. What it has not removed is listed the next time.
    """
    listed = {item.row for item in items if item.row}
    while listed:
        with mlflow_errors(), store_lock():
            rows = read_rows(root)
            models = sorted(rows.garbage_models & listed)[:_BATCH]
            runs = sorted(rows.garbage_runs & listed)[: _BATCH - len(models)]
            # An experiment goes after all that is in it.
            some = [*models, *runs] or sorted(rows.garbage_experiments & listed)[:_BATCH]
            if not some:
                return
            experiments = [] if models or runs else some
            _run_mlflow_gc(models, runs, experiments, root, uri)
            for folder in filter(None, map(rows.folder, [*models, *runs])):
                remove_path(folder)  # MLflow leaves it empty
            listed -= {*some}


def _run_mlflow_gc(
    models: list[str], runs: list[str], experiments: list[str], root: Path, uri: str
) -> None:
    """Run `mlflow gc` for these ids.

    If a list is empty, it would take all that is deleted. So each list begins with an entry that is
    made for this, and is deleted as well.
    """
    client = MlflowClient(uri)
    experiment = client.create_experiment(f"gc {uuid.uuid4().hex}", (root / "mlruns").as_uri())
    run = client.create_run(experiment, run_name="gc").info.run_id
    model = client.create_logged_model(experiment, name="gc", source_run_id=run).model_id
    for unused in (*models, model):
        with suppress(MlflowException):  # it is deleted already
            client.delete_logged_model(unused)
    client.delete_run(run)
    client.delete_experiment(experiment)
    command = [sys.executable, "-m", "mlflow", "gc"]
    command += [f"--backend-store-uri={uri}", f"--tracking-uri={uri}"]
    command += [f"--run-ids={','.join([run, *runs])}"]
    command += [f"--logged-model-ids={','.join([model, *models])}"]
    command += [f"--experiment-ids={','.join([experiment, *experiments])}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise UserError(f"`mlflow gc` failed: {one_line(result.stderr)[-300:]}")
    for folder in (root / "mlruns" / run, root / "mlruns/models" / model):
        remove_path(folder)


def _row_items(rows: Rows) -> Iterator[Item]:
    for kind, keys, named in (
        (MODELS, rows.garbage_models, rows.models),
        (RUNS, rows.garbage_runs, rows.runs),
    ):
        for key in sorted(keys):
            folder = rows.folder(key)
            assert folder
            yield Item(kind, f"{key} {named[key]['name']}", size_of(folder), None, key)
    for key in sorted(rows.garbage_experiments):
        yield Item(EXPERIMENTS, f"{key} {rows.experiments[key]['name']}", 0, None, key)


def _folders(parent: Path) -> list[Path]:
    """The folders of runs or logged models. Some are empty: MLflow leaves them so."""
    if not parent.is_dir():
        return []
    return [
        child
        for child in sorted(parent.iterdir())
        if child.is_dir() and not child.is_symlink() and not child.name.startswith(".")
        if (child / "artifacts").is_dir() or ids_in(child.name)
    ]
