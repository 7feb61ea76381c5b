import pytest
from matplotlib.figure import Figure

from pipeline.sweeps.axes import bulk, cut_outliers, label_log_ticks

DIVERGED = [0.1, 0.2, 0.15, 0.12, 0.11, 0.18, 5.4e29, 0.13]


def test_diverged_trials_do_not_set_the_axis() -> None:
    assert bulk(DIVERGED) == (0.1, 0.2)
    axis = Figure().subplots()
    axis.plot(DIVERGED)
    assert cut_outliers(axis, DIVERGED) == "; far outside: 1"
    assert axis.get_ylim() == pytest.approx((0.09, 0.21))


@pytest.mark.parametrize("values", [[0.5], [0.5] * 9, [0.1, 0.2, 0.3, 0.4, 0.5], [0.1, 0.2, 9e9]])
def test_axis_without_outliers_stays(values: list[float]) -> None:
    axis = Figure().subplots()
    axis.plot(values)
    before = axis.get_ylim()
    assert cut_outliers(axis, values) == ""
    assert axis.get_ylim() == before


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.003, 0.02, ["0.005", "0.01", "0.02"]),
        (0.0005, 0.02, ["0.001", "0.003", "0.01"]),
        (1e-4, 0.1, ["0.0001", "0.001", "0.01", "0.1"]),
        (70_000, 190_000, ["90,000", "120,000", "150,000", "180,000"]),
    ],
)
def test_logarithmic_axis_has_few_plain_numbers(low: float, high: float, labels: list[str]) -> None:
    axis = Figure().subplots()
    axis.set(xscale="log", xlim=(low, high))
    label_log_ticks(axis.xaxis)
    shown = [tick for tick in axis.get_xticks() if low <= tick <= high]
    assert axis.xaxis.get_major_formatter().format_ticks(shown) == labels
    assert not axis.get_xticks(minor=True).size
