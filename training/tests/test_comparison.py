import numpy as np
import pytest
from scipy.stats import binom

from training import comparison
from training.evaluation import Evaluation, evaluate

KEYS = ("cat", "dog")
LABELS = np.array([0, 0, 1, 1, 1])


def _answering(*answers: int) -> Evaluation:
    rows = np.where(np.arange(2) == np.array(answers)[:, None], 0.9, 0.1).astype(np.float32)
    return evaluate(rows, LABELS, KEYS, {})


def test_mcnemars_exact_test_doubles_the_binomial_tail() -> None:
    assert comparison.mcnemar(2, 10) == pytest.approx(2 * binom.cdf(2, 12, 0.5))
    assert comparison.mcnemar(10, 2) == comparison.mcnemar(2, 10)
    assert comparison.mcnemar(5, 5) == 1.0


def test_versions_that_never_differ_are_not_told_apart() -> None:
    assert comparison.mcnemar(0, 0) == 1.0


def test_a_pair_counts_what_each_alone_has_right() -> None:
    (pair,) = comparison.compare(
        [("a", _answering(0, 1, 1, 1, 0)), ("b", _answering(0, 0, 0, 1, 1))]
    )
    assert (pair.only_first, pair.only_second) == (1, 2)
    assert pair.differing.tolist() == [1, 2, 4]
    assert pair.recall_change == pytest.approx({"cat": 0.5, "dog": 0.0})


def test_every_two_of_three_versions_are_compared() -> None:
    same = _answering(0, 0, 1, 1, 1)
    pairs = comparison.compare([(name, same) for name in "abc"])
    assert [(pair.first, pair.second) for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]


def test_several_pairs_are_each_held_to_more() -> None:
    best, worst = _answering(0, 0, 1, 1, 1), _answering(1, 1, 0, 0, 0)
    (alone,) = comparison.compare([("a", best), ("b", worst)])
    several = comparison.compare([("a", best), ("b", worst), ("c", worst)])
    assert alone.p_value == pytest.approx(2 / 2**5)
    assert [pair.p_value for pair in several] == pytest.approx([3 * 2 / 2**5, 3 * 2 / 2**5, 1])


def test_other_pictures_are_not_compared() -> None:
    other = evaluate(np.full((1, 2), 0.5, dtype=np.float32), np.array([0]), KEYS, {})
    with pytest.raises(ValueError, match="same pictures"):
        comparison.compare([("a", _answering(0, 0, 1, 1, 1)), ("b", other)])
