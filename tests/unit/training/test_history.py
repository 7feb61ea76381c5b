from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.training.history import COLUMNS, best_epoch, read_history, write_history


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.floats(allow_nan=False), min_size=5, max_size=5), max_size=4))
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


def test_best_epoch_is_the_first_with_the_lowest_validation_loss() -> None:
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
