"""What the plots of a sweep say: labels, ticks, dots, and the trials that they leave out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from pipeline.config.schema import Sweep
from pipeline.sweeps import plots
from pipeline.sweeps.parsing import parse_space
from pipeline.sweeps.storage import Store, Study
from pipeline.sweeps.study import ask_trial
from pipeline.sweeps.trials import WEIGHTS
from tests.helpers.configs import changed
from tests.helpers.studies import random_sweep

pytestmark = pytest.mark.slow

PARAMS = {
    "optimizer": "choice(sgd, adam)",
    "augment": "null,shift",
    "model.depth": "range(1, 4)",
    "model.width": "int(tag(log, interval(16, 256)))",
    "optimizer.learning_rate": {
        "when": "optimizer=adam",
        "space": "tag(log, interval(1e-3, 1e-2))",
    },
}
DIVERGED = 5e28


@pytest.fixture
def sweep() -> Sweep:
    return random_sweep(24, **PARAMS)


@pytest.fixture
def figures(sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """The figures of a study with one diverged trial, by their files."""
    study = Store(tmp_path / "study", "digits").create("minimize")
    _end_trials(study, sweep)
    saved = {}

    def keep(figure: Figure, path: Path, **options: str) -> None:
        figure.canvas.draw()
        saved[path.name] = figure

    monkeypatch.setattr(plots, "save_figure", keep)
    plots.draw_plots(tmp_path, study, sweep, parse_space(sweep))
    return saved


def _end_trials(study: Study, sweep: Sweep) -> None:
    for number in range(24):
        trial = ask_trial(study, parse_space(sweep), sweep)
        assert trial is not None
        trial.set_user_attr(WEIGHTS, 100 * trial.params["model.width"])
        study.tell(trial, DIVERGED if number == 5 else 1 + number / 100)


def test_each_slice_has_its_own_ticks(figures: dict[str, Figure]) -> None:
    shown = {axis.get_xlabel(): axis for axis in figures["slices.png"].axes}
    labels = {
        name: [label.get_text() for label in axis.get_xticklabels()] for name, axis in shown.items()
    }
    assert labels["optimizer"] == ["sgd", "adam"], "in the order of the sweep, without quotes"
    assert labels["augment"] == ["null", "shift"]
    assert {"1", "2", "3"} <= {*labels["model.depth"]}
    assert not any("." in label for label in labels["model.depth"]), "no layer is half a layer"
    assert shown["model.width (log scale)"].get_xscale() == "log"


def test_slices_mark_the_best_trial(figures: dict[str, Figure]) -> None:
    figure = figures["slices.png"]
    title = " ".join(figure.get_suptitle().split())
    assert "a dot for each of 24 complete trials; the ring: the best, trial 0" in title
    depth = next(axis for axis in figure.axes if axis.get_xlabel() == "model.depth")
    dots, ring = (np.array(marks.get_offsets()) for marks in depth.collections)
    assert len(dots) == 24
    assert ring[0, 1] == 1


def test_diverged_trial_sets_no_axis(figures: dict[str, Figure]) -> None:
    assert {*figures} == {
        *("history.png", "slices.png", "importances.png", "pareto.png", "curve_model.depth.png")
    }
    for name in ("history.png", "slices.png", "pareto.png", "curve_model.depth.png"):
        assert figures[name].axes[0].get_ylim()[1] < 2
        title = " ".join(figures[name].get_suptitle().split())
        assert title.endswith("far outside: 1")


def test_importances_name_what_they_leave_out(figures: dict[str, Figure]) -> None:
    title = " ".join(figures["importances.png"].get_suptitle().split())
    assert title.endswith("by 24 complete trials; not every trial has optimizer.learning_rate")


def test_condition_of_a_parameter_is_written_at_its_slice(figures: dict[str, Figure]) -> None:
    labels = [axis.get_xlabel() for axis in figures["slices.png"].axes]
    assert "optimizer.learning_rate (log scale)\nif optimizer is adam" in labels


def test_titles_begin_with_the_name_of_the_sweep(figures: dict[str, Figure], sweep: Sweep) -> None:
    for figure in figures.values():
        assert figure.get_suptitle().startswith(f"{sweep.name}: ")


@pytest.mark.parametrize(
    ("combine", "shares"),
    [
        # One counts three times as much as the other, so its variance is nine times it.
        (lambda depth, epochs: 3 * depth + epochs, (0.9, 0.1)),
        # Each matters only together with the other, so neither explains much alone.
        (lambda depth, epochs: (depth - 3.5) * (epochs - 4.5), (0.0, 0.0)),
    ],
)
def test_importances_are_shares_of_the_variance(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    combine: Callable[[int, int], float],
    shares: tuple[float, float],
) -> None:
    params = {"model.depth": "range(0, 8)", "train.epochs": "range(1, 9)"}
    sweep = changed(random_sweep(60, **params), metric="val_loss", direction="minimize")
    study = Store(tmp_path / "study", "digits").create("minimize")
    while trial := ask_trial(study, parse_space(sweep), sweep):
        value = combine(trial.params["model.depth"], trial.params["train.epochs"])
        study.tell(trial, float(value))
    saved = {}
    monkeypatch.setattr(
        plots, "save_figure", lambda figure, path: saved.update({path.name: figure})
    )
    plots.draw_plots(tmp_path, study, sweep, parse_space(sweep))
    axis = saved["importances.png"].axes[0]
    drawn = {
        label.get_text(): bar.get_width()
        for label, bar in zip(axis.get_yticklabels(), axis.patches, strict=True)
    }
    assert drawn["model.depth"] == pytest.approx(shares[0], abs=0.1)
    assert drawn["train.epochs"] == pytest.approx(shares[1], abs=0.1)


def test_bars_of_importances_have_no_scale(figures: dict[str, Figure]) -> None:
    labels = [label.get_text() for label in figures["importances.png"].axes[0].get_yticklabels()]
    assert "model.width" in labels
