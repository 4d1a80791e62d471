"""`turns`: one at a time, in the order of asking, and nobody is forgotten."""

import subprocess
import sys
import threading
import time

import pytest

from classifier.imaging.turns import NotYet, Turns

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


# In a process of its own: Ctrl-C at the wrong moment would end whoever runs the tests.
CTRL_C = """
import signal, sys, threading, time
from classifier.imaging.turns import Turns

turns, main = Turns(), threading.get_ident()
leave, holding = threading.Event(), threading.Event()

def hold():
    with turns.turn():
        holding.set()
        while turns.waiting != 1:
            time.sleep(0.001)
        # A signal between asking and waiting is seen only when the wait is over: Python's way.
        time.sleep(0.3)
        signal.pthread_kill(main, signal.SIGINT)
        leave.wait(10)

threading.Thread(target=hold, daemon=True).start()
holding.wait(10)
started = time.monotonic()
try:
    with turns.turn():
        sys.exit("two have the turn")
except KeyboardInterrupt:
    waited = time.monotonic() - started
assert waited < 5 and turns.waiting == 0, (waited, turns.waiting)
leave.set()
with turns.turn(patience=10):
    print("passed on")
"""


def test_ctrl_c_gets_through_to_who_waits_and_holds_up_nobody() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CTRL_C], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.stdout, ended.stderr) == ("passed on\n", "")
