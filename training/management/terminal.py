"""How a run shows itself on a command's output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.management.base import OutputWrapper

if TYPE_CHECKING:
    from training.console import ConsoleReporter


class Unended:
    """A command's output without the newline that Django puts after every text.

    A live line ends in a carriage return alone: the next one is written over it.
    """

    def __init__(self, out: OutputWrapper) -> None:
        self.out = out

    def write(self, text: str) -> None:
        self.out.write(text, ending="")

    def flush(self) -> None:
        self.out.flush()

    def isatty(self) -> bool:
        return self.out.isatty()


def reporter(out: OutputWrapper) -> ConsoleReporter:
    """Return what tells of a run there."""
    from training.console import ConsoleReporter

    return ConsoleReporter(Unended(out))
