"""Turns: what a process does one at a time, whoever asks, in the order of asking."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class NotYet(Exception):
    """Others had the turn for longer than was to be waited for."""


class Turns:
    """One turn, which goes from thread to thread: first come, first served.

    A thread that has it must not ask for it again, and waits for no other thread while it has it;
    so nobody waits for ever. Whoever stops waiting, by an exception or by Ctrl-C too, is passed by.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # The first has the turn, the others wait for it.
        self._queue: deque[threading.Event] = deque()

    @contextmanager
    def turn(self, patience: float | None = None) -> Iterator[None]:
        """Have the turn for as long as the block runs.

        Args:
            patience: how many seconds to wait for it at most; None: as long as it takes.

        Raises NotYet.
        """
        mine = threading.Event()
        try:
            self._join(mine)
            if not mine.wait(patience):
                raise NotYet(f"The turn did not come in {patience:g} s.")
            yield
        finally:
            self._leave(mine)

    @property
    def waiting(self) -> int:
        """How many wait for the turn now."""
        return max(0, len(self._queue) - 1)

    def _join(self, mine: threading.Event) -> None:
        with self._lock:
            self._queue.append(mine)
            self._queue[0].set()

    def _leave(self, mine: threading.Event) -> None:
        with self._lock:
            # An interrupt may have come before it joined.
            if mine in self._queue:
                self._queue.remove(mine)
            if self._queue:
                self._queue[0].set()
