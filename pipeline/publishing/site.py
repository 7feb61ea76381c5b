"""Write the leaderboard and copy the reports."""

import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from pipeline.system.errors import UserError
from pipeline.system.files import TEMPORARY, write_text
from pipeline.system.templates import render
from pipeline.system.text import percent
from pipeline.tracking.store import has_store, mlflow_errors, use_store
from pipeline.tracking.tags import NETWORK

REPORT = "reports/report.html"  # the artifact of a run that `evaluate` has described


def write_site(experiment: str, site: Path) -> int:
    """Write index.html, and a folder with the report of each run that has one.

    Args:
        experiment: the name of the MLflow experiment.
        site: the folder of the site. It is replaced when the new one is complete.

    Returns:
        The number of runs.

    Raises:
        UserError: when there is no store, or it does not answer.
    """
    use_store()
    if not has_store():
        raise UserError("there is no MLflow store yet: run `make repro` first")
    with mlflow_errors():
        runs = mlflow.search_runs(
            experiment_names=[experiment],
            filter_string="metrics.test_accuracy >= 0",
            order_by=["metrics.test_accuracy DESC", "attributes.start_time DESC"],
            output_format="list",
        )
        site.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=site.parent) as folder:
            new = Path(folder) / "site"
            rows = [_write_run(run, new) for run in runs]
            values = {"experiment": experiment, "rows": rows}
            page = render("pipeline.publishing", "index.html.jinja", values)
            write_text(new / "index.html", page)
            shutil.rmtree(site, ignore_errors=True)
            new.replace(site)
    return len(rows)


def _write_run(run: Run, site: Path) -> dict[str, Any]:
    """Copy the report of a run; what the leaderboard says of the run."""
    link = f"{run.info.run_id}/report.html"
    target = site / link
    target.parent.mkdir(parents=True)
    try:
        with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:
            path = mlflow.artifacts.download_artifacts(
                run_id=run.info.run_id, artifact_path=REPORT, dst_path=folder
            )
            shutil.copyfile(path, target)
    except (MlflowException, OSError):
        link = ""  # a run of an older revision has no such page
    metrics, tags = run.data.metrics, run.data.tags
    began = datetime.fromtimestamp(run.info.start_time / 1000, UTC)
    # A run of another program may have the test accuracy alone.
    validation, seconds = metrics.get("validation_accuracy"), metrics.get("fit_seconds")
    return {
        "name": run.info.run_name,
        "link": link,
        "network": tags.get(NETWORK, ""),
        "test": percent(metrics["test_accuracy"]),
        "validation": "" if validation is None else percent(validation),
        "parameters": f"{metrics['parameters']:,.0f}" if "parameters" in metrics else "",
        "seconds": f"{seconds:.0f} s" if seconds else "",
        "date": f"{began:%Y-%m-%d}",
        "commit": tags.get("mlflow.source.git.commit", "")[:10],
        "run_id": run.info.run_id,
    }
