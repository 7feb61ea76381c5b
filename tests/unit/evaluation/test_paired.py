import numpy as np
import pytest
from scipy.stats import binom

from pipeline.evaluation.paired import Paired, compare_answers

LABELS = np.array([0, 1, 2, 3, 4], np.uint8)


def test_images_are_counted() -> None:
    paired = compare_answers(np.array([0, 1, 2, 0, 0]), np.array([0, 9, 9, 3, 9]), LABELS)
    assert paired == Paired(images=5, right=3, won=2, lost=1)
    assert (paired.accuracy, paired.other_accuracy) == (0.6, 0.4)


def test_p_value_is_that_of_a_fair_coin() -> None:
    """Both tails: as few heads as 3 of 15, or as many as 12."""
    expected = 2 * binom.cdf(3, 15, 0.5)
    assert Paired(100, 90, won=12, lost=3).p_value == pytest.approx(expected)
    assert Paired(100, 90, won=3, lost=12).p_value == pytest.approx(expected)


def test_equal_answers_are_no_evidence() -> None:
    paired = compare_answers(LABELS, LABELS, LABELS)
    assert paired.p_value == 1
    assert not paired.is_better(0.99)


@pytest.mark.parametrize(
    ("won", "lost", "better"), [(12, 3, True), (3, 12, False), (10, 5, False), (8, 0, True)]
)
def test_better_means_right_more_often_and_not_by_chance(won: int, lost: int, better: bool) -> None:
    assert Paired(100, 90, won, lost).is_better(0.05) is better


def test_text_names_both_accuracies_the_images_and_the_p_value() -> None:
    assert str(Paired(6000, 5960, won=23, lost=15)) == (
        "accuracy 0.9933 against 0.9920 on 6000 validation images; 23 images won, 15 lost; "
        "p = 0.26 (McNemar's exact test)"
    )
