"""Where the lines of a chart are drawn, and what stands beside them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifier.charts import decimals, round_values


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (33.3, 56.1, "30 40 50 60"),
        (0.7, 0.77, "0.70 0.72 0.74 0.76 0.78"),
        (0, 1, "0.0 0.2 0.4 0.6 0.8 1.0"),
        (1.8, 2.3, "1.8 1.9 2.0 2.1 2.2 2.3"),
        (3, 1200, "0 500 1000 1500"),
        (2.3, 2.3001, "2.30000 2.30002 2.30004 2.30006 2.30008 2.30010"),
    ],
)
def test_an_axis_has_round_numbers_of_as_many_digits(low: float, high: float, words: str) -> None:
    values = round_values(low, high)
    digits = decimals(values)
    assert " ".join(f"{value:.{digits}f}" for value in values) == words


@given(st.floats(0, 1e4), st.floats(0.05, 1e4))
def test_an_axis_holds_what_it_was_made_for(low: float, span: float) -> None:
    values = round_values(low, low + span)
    assert 3 <= len(values) <= 6
    step = values[1] - values[0]
    assert all(b - a == pytest.approx(step, rel=1e-3) for a, b in itertools.pairwise(values))
    assert values[0] <= low + step * 1e-6
    assert values[-1] >= low + span - step * 1e-6
    digits = decimals(values)
    assert len({f"{value:.{digits}f}" for value in values}) == len(values)
