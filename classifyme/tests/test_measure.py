from itertools import count

import pytest

from benchmarks.measure import hardware, measure, versions


def test_it_reports_the_median_and_the_spread_and_leaves_the_warm_up_out() -> None:
    durations = iter([9.0, 9.0, 0.001, 0.002, 0.003, 0.004, 0.005])
    now = 0.0

    def call() -> None:
        nonlocal now
        now += next(durations)

    timing = measure("x", call, seconds=0, warm_up=2, minimum_calls=5, clock=lambda: now)
    assert timing.calls == 5
    assert timing.median == pytest.approx(3.0)
    assert timing.low == pytest.approx(1.4)
    assert timing.high == pytest.approx(4.6)


def test_it_goes_on_until_the_time_is_over() -> None:
    ticks = count()
    timing = measure("x", lambda: None, seconds=30, minimum_calls=2, clock=lambda: next(ticks))
    assert timing.calls > 2


def test_it_refuses_a_spread_of_one_call() -> None:
    with pytest.raises(ValueError, match=r"at least 2\. Received: 1"):
        measure("x", lambda: None, minimum_calls=1)


def test_it_names_the_hardware_and_the_versions() -> None:
    assert "cores" in hardware()
    assert versions("numpy").startswith("Python 3.")
    assert "numpy 2" in versions("numpy")
