"""How commands end by Ctrl-C and SIGTERM: with a sentence instead of a traceback."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from django.core.management.base import CommandError

INTERRUPTED = 128 + signal.SIGINT  # as a shell reports a program ended by Ctrl-C


@contextlib.contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM, as a service or a container is stopped, end a run as gently as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def stopped_in_words() -> Iterator[list[str]]:
    """Turn Ctrl-C and SIGTERM into a CommandError; the list takes sentences on what stands then.

    For a command that begins anew afterwards: what it makes, it makes in a folder of its own, which
    is gone when it is stopped.
    """
    standing: list[str] = []
    try:
        with sigterm_as_interrupt():
            yield standing
    except KeyboardInterrupt as error:
        said = " ".join(["Stopped.", *(standing or ["Nothing was written or registered."])])
        raise CommandError(said, returncode=INTERRUPTED) from error
