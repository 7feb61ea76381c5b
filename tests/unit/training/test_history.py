from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.system.errors import UserError
from pipeline.training.history import (
    COLUMNS,
    TEST_METRICS,
    best_epoch,
    read_history,
    read_metrics,
    write_history,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.floats(allow_nan=False), min_size=5, max_size=5), min_size=1, max_size=4)
)
def test_history_that_is_read_equals_the_one_written(
    tmp_path: Path, measured: list[list[float]]
) -> None:
    history = [
        dict(zip(COLUMNS, [epoch, *values], strict=True))
        for epoch, values in enumerate(measured, 1)
    ]
    write_history(history, tmp_path / "history.csv")
    read = read_history(tmp_path / "history.csv")
    assert read == history
    assert all(isinstance(epoch["epoch"], int) for epoch in read)


def row(epoch: int, **values: float) -> dict[str, float]:
    return {**dict.fromkeys(COLUMNS, 0.5), "epoch": epoch, **values}


def test_best_epoch_makes_the_fewest_mistakes() -> None:
    """The validation loss was lowest in epoch 20 of 30, and the model lost 0.25 points on test."""
    accuracies, losses = [0.9943, 0.9937, 0.9950, 0.9942], [0.0221, 0.0253, 0.0229, 0.0257]
    history = [
        row(n, val_accuracy=accuracy, val_loss=loss)
        for n, (accuracy, loss) in enumerate(zip(accuracies, losses, strict=True), 1)
    ]
    assert best_epoch(history) is history[2]


def test_of_equal_epochs_the_first_with_the_lowest_loss_is_best() -> None:
    history = [row(n, val_loss=loss) for n, loss in enumerate([0.9, 0.4, 0.4, 0.6], 1)]
    assert best_epoch(history) is history[1]


def test_file_has_one_row_per_epoch_and_no_speed(tmp_path: Path) -> None:
    history = [row(1, loss=0.1 + 0.2, images_per_second=1e5), row(2, images_per_second=2e5)]
    write_history(history, tmp_path / "history.csv")
    assert (tmp_path / "history.csv").read_bytes() == (
        b"epoch,loss,accuracy,val_loss,val_accuracy,learning_rate\n"
        b"1,0.30000000000000004,0.5,0.5,0.5,0.5\n"
        b"2,0.5,0.5,0.5,0.5,0.5\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "epoch,val_loss,val_accuracy\n",
        "epoch,val_loss\n1,2\n",
        "epoch,val_loss,val_accuracy\n1,2\n",
        "epoch,val_loss,val_accuracy\n1,2,3,4\n",
        "epoch,val_loss,val_accuracy\n1,x,3\n",
        "\0\1",
        "{}",
    ],
    ids=repr,
)
def test_damaged_history_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "history.csv").write_text(text)
    with pytest.raises(
        UserError, match=r"history\.csv is damaged: [^\n]+; `dvc repro` restores it$"
    ):
        read_history(tmp_path / "history.csv")


def test_missing_metrics_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"metrics\.json is missing: run `dvc repro` first$"):
        read_metrics(tmp_path / "metrics.json", TEST_METRICS)


def test_metrics_are_read(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"test_loss": 1, "test_accuracy": 0.5, "more": 2e-3}')
    metrics = {"test_loss": 1, "test_accuracy": 0.5, "more": 0.002}
    assert read_metrics(tmp_path / "metrics.json", TEST_METRICS) == metrics
