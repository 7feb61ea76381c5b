"""What a run says of itself on MLflow's page."""

import mlflow
import pytest

from pipeline.tracking.description import describe_training

TEST = {"test_accuracy": 0.9943, "validation_accuracy": 0.9951}
DOUBT = "Without the test images whose labels are in doubt, it reads 99.55 %."


@pytest.mark.parametrize("more", [{}, {"test_accuracy_without_label_errors": 0.99549}])
def test_labels_in_doubt_are_told_where_a_data_set_has_them(
    tracked: object, more: dict[str, float]
) -> None:
    with mlflow.start_run() as run:
        mlflow.log_metrics(TEST | more)
    first, *_ = describe_training(mlflow.MlflowClient().get_run(run.info.run_id)).splitlines()
    assert "reads 99.43 % of the test images right" in first
    assert (DOUBT in first) == bool(more)
