import pytest

from pipeline.sweeps.front import Point, draw_front, pareto_front

SMALL, EQUAL, LARGE = Point(3, 10, 0.90), Point(1, 20, 0.90), Point(0, 30, 0.95)
TWIN, WORSE = Point(5, 30, 0.95), Point(2, 40, 0.80)


@pytest.mark.parametrize("maximize", [True, False])
def test_front_has_what_no_smaller_network_equals(maximize: bool) -> None:
    given = [WORSE, TWIN, LARGE, EQUAL, SMALL]
    if maximize:
        assert pareto_front(given, maximize) == [SMALL, LARGE]
    else:
        assert pareto_front(given, maximize) == [SMALL, WORSE]
    assert pareto_front([], maximize) == []


def test_numbers_of_the_front_are_written_at_its_points() -> None:
    figure = draw_front([WORSE, LARGE, SMALL], True, "accuracy")
    [axis] = figure.axes
    assert [text.get_text() for text in axis.texts] == ["3", "0"]
    assert axis.get_xscale() == "log"
