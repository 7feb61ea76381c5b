from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from pipeline.publishing.site import write_site
from pipeline.system.errors import UserError
from tests.helpers.commands import assert_help


def log_run(name: str, accuracy: float, report: str = "") -> str:
    client = MlflowClient()
    experiment = mlflow.get_experiment_by_name("digits")
    assert experiment
    run_id = str(client.create_run(experiment.experiment_id, run_name=name).info.run_id)
    for metric in ("test_accuracy", "validation_accuracy"):
        client.log_metric(run_id, metric, accuracy)
    if report:
        client.log_text(run_id, report, "reports/report.html")
    return run_id


def test_help_says_what_is_written(tmp_path: Path) -> None:
    assert_help("publish", tmp_path, "leaderboard", "build/site")


@pytest.mark.usefixtures("tracked")
def test_run_of_another_program_has_blank_cells(tmp_path: Path) -> None:
    client = MlflowClient()
    experiment = mlflow.get_experiment_by_name("digits")
    assert experiment
    run = client.create_run(experiment.experiment_id, run_name="foreign").info.run_id
    client.log_metric(run, "test_accuracy", 0.25)
    assert write_site("digits", tmp_path / "site") == 1
    assert "<td>25.00 %</td><td></td>" in (tmp_path / "site/index.html").read_text()


@pytest.mark.usefixtures("tracked")
def test_site_has_the_best_run_first_and_its_report(tmp_path: Path) -> None:
    old = log_run("<old>", 0.5)
    new = log_run("new", 0.75, "a report")
    site = tmp_path / "deep/site"
    for _ in range(2):  # the second time it replaces the site
        assert write_site("digits", site) == 2
        page = (site / "index.html").read_text()
        assert page.index(new) < page.index(old)
        assert f'<a href="{new}/report.html"' in page
        assert "75.00 %" in page
        assert "&lt;old&gt;" in page
        assert f"{old}/report.html" not in page
        assert (site / new / "report.html").read_text() == "a report"
    assert [path.name for path in site.parent.iterdir()] == ["site"]


def test_missing_store_is_one_line(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no MLflow store yet"):
        write_site("digits", tmp_path / "site")
