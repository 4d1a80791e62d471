"""Ctrl-C and SIGTERM in a command that begins anew after them: a sentence instead of a traceback.

What such a command makes, it makes in a folder of its own, which is gone when it is stopped.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from django.core.management.base import CommandError

from training.management.commands.train import INTERRUPTED, sigterm_as_interrupt


@contextlib.contextmanager
def stopped_in_words() -> Iterator[list[str]]:
    """Turn Ctrl-C and SIGTERM into a CommandError; the list takes sentences on what stands then."""
    standing: list[str] = []
    try:
        with sigterm_as_interrupt():
            yield standing
    except KeyboardInterrupt as error:
        said = " ".join(["Stopped.", *(standing or ["Nothing was written or registered."])])
        raise CommandError(said, returncode=INTERRUPTED) from error
