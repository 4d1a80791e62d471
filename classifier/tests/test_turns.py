"""`turns`: one at a time, in the order of asking, and nobody is forgotten."""

import signal
import threading
import time

import pytest

from classifier.turns import NotYet, Turns

SECONDS = 10


def wait_until(turns: Turns, waiting: int) -> None:
    deadline = time.monotonic() + SECONDS
    while turns.waiting != waiting:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_the_turn_goes_round_one_at_a_time_in_the_order_of_asking() -> None:
    turns = Turns()
    had: list[int] = []
    inside: list[int] = []

    def have(number: int) -> None:
        with turns.turn():
            inside.append(number)
            assert inside == [number]
            had.append(number)
            time.sleep(0.002)
            inside.clear()

    threads = [threading.Thread(target=have, args=(number,)) for number in range(12)]
    with turns.turn():
        for number, thread in enumerate(threads, 1):
            thread.start()
            wait_until(turns, number)
    for thread in threads:
        thread.join(SECONDS)
    assert had == list(range(12))


def test_who_waited_long_enough_is_told_and_holds_up_nobody() -> None:
    turns = Turns()
    with turns.turn():
        with pytest.raises(NotYet, match=r"did not come in 0\.01 s"), turns.turn(patience=0.01):
            raise AssertionError("two have the turn")
        assert turns.waiting == 0
    with turns.turn(patience=0):
        pass


def test_a_turn_that_ends_badly_is_passed_on() -> None:
    turns = Turns()
    with pytest.raises(RuntimeError, match="damaged"), turns.turn():
        raise RuntimeError("damaged")
    with turns.turn(patience=0):
        pass


def test_ctrl_c_gets_through_to_who_waits_and_holds_up_nobody() -> None:
    turns = Turns()
    main = threading.get_ident()
    leave, holding = threading.Event(), threading.Event()

    def hold() -> None:
        with turns.turn():
            holding.set()
            wait_until(turns, 1)
            signal.pthread_kill(main, signal.SIGINT)
            leave.wait(SECONDS)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert holding.wait(SECONDS)
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt), turns.turn():
            raise AssertionError("two have the turn")
        assert time.monotonic() - started < SECONDS / 2
        assert turns.waiting == 0
    finally:
        leave.set()
        holder.join(SECONDS)
    with turns.turn(patience=0):
        pass
