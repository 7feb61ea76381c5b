from pathlib import Path

import pytest

from pipeline.config.schema import Direction
from pipeline.sweeps.front import draw_front
from pipeline.sweeps.storage import Store
from pipeline.sweeps.trials import WEIGHTS, best_trial, pareto_front
from tests.helpers.studies import study_of

# The weights and the metric of trials, by their numbers.
LARGE, EQUAL, WORSE, SMALL, TWIN = (30, 0.95), (20, 0.90), (40, 0.80), (10, 0.90), (30, 0.95)


@pytest.mark.parametrize(("direction", "front"), [("maximize", [3, 0]), ("minimize", [3, 2])])
@pytest.mark.parametrize("objectives", [1, 2])
def test_front_has_what_no_smaller_network_equals(
    tmp_path: Path, direction: Direction, front: list[int], objectives: int
) -> None:
    directions: list[Direction] = [direction, "minimize"][:objectives]
    store = Store(tmp_path, "study")
    study = study_of(store, directions, LARGE, EQUAL, WORSE, SMALL, TWIN)
    assert [trial.number for trial in pareto_front(study)] == front
    best = best_trial(study)
    assert best is not None
    assert best.number == front[-1]


def test_study_without_a_complete_trial_has_no_front(tmp_path: Path) -> None:
    study = study_of(Store(tmp_path, "study"), ["maximize", "minimize"])
    assert pareto_front(study) == []
    assert best_trial(study) is None


def test_numbers_of_the_front_are_written_at_its_points(tmp_path: Path) -> None:
    study = study_of(Store(tmp_path, "study"), ["maximize"], LARGE, WORSE, SMALL)
    earlier_version = study.ask()
    study.tell(earlier_version, 0.99)
    assert WEIGHTS not in study.trials[-1].user_attrs
    figure = draw_front(study, "accuracy")
    [axis] = figure.axes
    assert [text.get_text() for text in axis.texts] == ["2", "0"]
    assert axis.get_xscale() == "log"
