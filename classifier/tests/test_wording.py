"""How counts and times are written for people."""

import pytest

from classifier.wording import counted, duration


@pytest.mark.parametrize(
    ("count", "expected"), [(0, "0 pictures"), (1, "1 picture"), (1204, "1,204 pictures")]
)
def test_a_count_agrees_with_its_thing(count: int, expected: str) -> None:
    assert counted(count, "picture") == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.2, "0 s"), (59.4, "59 s"), (185, "3 min 05 s"), (4320, "1 h 12 min")],
)
def test_a_time_is_written_as_people_say_it(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected
