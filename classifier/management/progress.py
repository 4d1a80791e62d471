"""How far a long command is: one line that changes on a terminal, a line now and then elsewhere."""

import time

from django.core.management.base import OutputWrapper

from classifier.wording import counted, duration

# Seconds between two of them.
LIVE, LOGGED = 0.2, 5.0


class Progress:
    """Counts pictures and says how many, how fast, and how long it may still take.

    `total` is None where that shows only in the end.
    """

    def __init__(self, stream: OutputWrapper, total: int | None, *, quiet: bool = False) -> None:
        self.stream, self.total, self.quiet = stream, total, quiet
        self.live = stream.isatty()
        self.done = self.failed = 0
        self.started = time.monotonic()
        self._due_at = self.started + self._pause

    @property
    def _pause(self) -> float:
        return LIVE if self.live else LOGGED

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.started

    @property
    def rate(self) -> float:
        """Pictures a second, since the beginning."""
        return self.done / max(self.seconds, 1e-9)

    def count(self, *, failed: bool) -> bool:
        """Count a picture; return whether it is time to show that."""
        self.done += 1
        self.failed += failed
        return time.monotonic() >= self._due_at

    def show(self) -> None:
        """Write how far it is."""
        self._due_at = time.monotonic() + self._pause
        if self.quiet:
            return
        words = f"{counted(self.done, 'picture')}, {self.rate:,.0f}/s"
        if self.total is not None:
            left = duration(max(0, self.total - self.done) / max(self.rate, 1e-9))
            words = f"{self.done:,} of {self.total:,}, {self.rate:,.0f}/s, {left} left"
        failed = f", {self.failed:,} failed" if self.failed else ""
        self._write(f"{words}{failed}", "\r" if self.live else "\n")

    def end(self) -> None:
        """Take away the line that was updated."""
        if self.live and not self.quiet:
            self._write("", "")

    def _write(self, text: str, ending: str) -> None:
        clear = "\x1b[2K" if self.live else ""
        self.stream.write(f"{clear}{text}", style_func=str, ending=ending)
        self.stream.flush()
