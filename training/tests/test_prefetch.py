import threading
import time
from collections.abc import Iterator

import pytest

from training.prefetch import prefetched


def test_items_come_in_their_order() -> None:
    assert list(prefetched(range(50))) == list(range(50))


def test_no_more_is_made_in_advance_than_was_asked_for() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for index in range(100):
            made.append(index)
            yield index

    taken = prefetched(items(), ahead=3)
    assert next(taken) == 0
    time.sleep(0.3)
    # One was taken, three wait, one is ready to be put.
    assert len(made) == 5
    taken.close()


def test_what_making_an_item_raises_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    taken = prefetched(items())
    assert next(taken) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(taken)


def test_closing_ends_the_thread_though_nobody_takes_what_it_made() -> None:
    before = threading.active_count()
    taken = prefetched(iter(range(1000)))
    next(taken)
    assert threading.active_count() == before + 1
    taken.close()
    assert threading.active_count() == before
