"""How MLflow's page shows an experiment: its kind, its description, and its saved views.

Since MLflow 3.15, a saved view of the runs is a tag of the experiment: JSON with a name, and the
state of the page as JSON text. An older page ignores the tag.
"""

import json
from typing import Any

import mlflow
from mlflow.entities import Experiment

from pipeline.tracking.tags import CONFIGURATION, STUDY

_NOTE = """Handwritten digits: each run is one training of `dvc repro`, or a sweep with its trials.

**Views** (above the table): *Leaderboard* sorts by test accuracy, *Curves* draws training and \
validation, *Sweeps* folds the trials of each sweep, *Seeds* groups runs that differ only there.

docs/mlflow.md explains the metrics, the parameters and the tags."""
_FIXED = {
    # Without this kind, the page opens in its mode for language models and shows no runs.
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.note.content": _NOTE,
}
_VIEW = "mlflow.sharedViewState."
_LAYOUT = 2  # raise it when a view below changes: stores get the views anew
_CREATED = 1_760_000_000_000  # milliseconds; fixed, so that equal views are equal tags
_INSTALLED = "views.layout"  # the tag with the layout that a store has

_RESULTS = [
    "metrics.`test_accuracy`",
    "metrics.`validation_accuracy`",
    "metrics.`parameters`",
    "metrics.`fit_seconds`",
]
_CHOICES = [f"params.`{name}`" for name in ("experiment", "model", "optimizer", "augment", "data")]
_SETTINGS = [f"params.`{name}`" for name in ("optimizer.learning_rate", "train.seed")]


def install_views(experiment: Experiment) -> None:
    """Write the tags of an experiment, unless it has them already. Users may change them then."""
    if experiment.tags.get(_INSTALLED) == str(_LAYOUT):
        return
    client = mlflow.MlflowClient()
    tags = {**_FIXED, **_view_tags(), _INSTALLED: str(_LAYOUT)}
    for key, value in tags.items():
        client.set_experiment_tag(experiment.experiment_id, key, value)


def view_fragment(experiment_id: str) -> str:
    """The part of MLflow's address, after the server's, that opens the first view."""
    page = f"/#/experiments/{experiment_id}/runs?workflowType=machine_learning"
    return f"{page}&viewStateShareKey=leaderboard"


def _view_tags() -> dict[str, str]:
    columns = [*_RESULTS, *_CHOICES, *_SETTINGS]
    trained = "metrics.`test_accuracy` >= 0"
    views = {
        "leaderboard": ("1 Leaderboard", _state(trained, "metrics.`test_accuracy`", columns)),
        "curves": ("2 Curves", {**_state("", "attributes.start_time", _RESULTS), **_curves()}),
        "searches": (  # the key is in stores: another one would leave the old view there
            "3 Sweeps",
            _state(
                f"tags.`{STUDY}` LIKE '%'",
                "attributes.start_time",
                ["metrics.`best_value`", *_RESULTS[1:], *_CHOICES[1:], *_SETTINGS],
            ),
        ),
        "seeds": (
            "4 Seeds",
            {
                **_state(
                    "metrics.`validation_accuracy` >= 0",
                    "metrics.`validation_accuracy`",
                    [*_RESULTS, "params.`train.seed`"],
                ),
                "groupBy": {
                    "aggregateFunction": "average",
                    "groupByKeys": [{"mode": "tag", "groupByData": CONFIGURATION}],
                },
            },
        ),
    }
    return {
        f"{_VIEW}{key}": json.dumps(
            {
                "name": name,
                "createdAt": _CREATED,
                "updatedAt": _CREATED + _LAYOUT,
                "state": json.dumps(state),
            }
        )
        for key, (name, state) in views.items()
    }


def _state(search: str, order: str, columns: list[str]) -> dict[str, Any]:
    """The state of the table of runs, sorted from high to low."""
    return {
        "searchFilter": search,
        "orderByKey": order,
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": {},
        "runsHiddenMode": "SHOW_ALL",
        "viewMaximized": False,
        "runListHidden": False,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "globalLineChartConfig": {
            "xAxisKey": "step",
            "lineSmoothness": 0,
            "selectedXAxisMetricKey": "",
        },
    }


def _curves() -> dict[str, Any]:
    """Charts of training and validation together, an epoch on the horizontal axis."""
    charts = {
        "Accuracy": ["accuracy", "val_accuracy"],
        "Loss": ["loss", "val_loss"],
        "Learning rate": ["learning_rate"],
    }
    section = {
        "uuid": "epochs",
        "name": "Each epoch",
        "display": True,
        "isReordered": True,
        "deleted": False,
        "isGenerated": False,
    }
    lines = [
        {
            "uuid": f"epochs-{number}",
            "type": "LINE",
            "displayName": name,
            "runsCountToCompare": 10,
            "metricSectionId": "epochs",
            "deleted": False,
            "isGenerated": False,
            "metricKey": metrics[0],
            "selectedMetricKeys": metrics,
            "lineSmoothness": 0,
            "xAxisScaleType": "linear",
            "scaleType": "linear",
            "range": {},
            "xAxisKey": "step",
            "selectedXAxisMetricKey": "",
            "yAxisKey": "metric",
            "yAxisExpressions": [],
            "ignoreOutliers": False,
            "useGlobalXaxisKey": False,
            "useGlobalLineSmoothing": True,
            "selectedYAxisMetricKey": "metric",
        }
        for number, (name, metrics) in enumerate(charts.items())
    ]
    return {
        "compareRunCharts": lines,
        "compareRunSections": [section],
        "isAccordionReordered": True,
    }
