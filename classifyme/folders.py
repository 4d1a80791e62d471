"""What an installation writes is its owner's alone: pictures, sessions, hashes of passwords."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PRIVATE_UMASK = 0o077


def make_private(folder: Path) -> None:
    """Make the folder and those above it that are missing, for their owner only.

    A folder that is there stays as its owner set it.

    Raises:
        OSError: it cannot be made, or is a file.
    """
    if not folder.parent.exists():
        make_private(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def private_files() -> Iterator[None]:
    """Within, every file and folder that this process makes is for its owner only."""
    before = os.umask(PRIVATE_UMASK)
    try:
        yield
    finally:
        os.umask(before)
