"""Intervals and tests, against published numbers and against counting every case."""

from itertools import product

import pytest

from classifier import significance


def test_wilsons_interval_is_the_published_one() -> None:
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I: 81/263.
    assert significance.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_of_nothing_nothing_is_known() -> None:
    assert significance.wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="Received: 3"):
        significance.wilson(3, 2)


def test_an_interval_holds_its_share_at_the_ends_too() -> None:
    assert significance.wilson(0, 7)[0] == 0.0
    assert significance.wilson(7, 7)[1] == 1.0


def test_newcombes_interval_of_a_difference_is_the_published_one() -> None:
    # Newcombe 1998, table II, method 10: 56/70 less 48/80.
    change, interval = significance.difference((48, 80), (56, 70))
    assert change == pytest.approx(0.2)
    assert interval == pytest.approx((0.0524, 0.3339), abs=5e-5)


@pytest.mark.parametrize(("only_first", "only_second"), [(1, 9), (9, 1), (3, 7), (0, 5), (5, 5)])
def test_mcnemars_test_is_what_counting_every_case_gives(only_first: int, only_second: int) -> None:
    count, gap = only_first + only_second, abs(only_first - only_second)
    falls = [abs(2 * sum(sides) - count) for sides in product((0, 1), repeat=count)]
    as_far = sum(fall >= gap for fall in falls) / len(falls)
    assert significance.mcnemar(only_first, only_second) == pytest.approx(as_far)


def test_versions_that_never_differ_are_not_told_apart() -> None:
    assert significance.mcnemar(0, 0) == 1.0


def test_mcnemars_test_takes_as_many_pictures_as_there_are() -> None:
    assert 0 < significance.mcnemar(4_500, 5_000) < 1e-6


def test_several_tests_are_corrected_as_holm_says() -> None:
    assert significance.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert significance.holm([0.9, 0.8]) == [1.0, 1.0]
    assert significance.holm([]) == []
