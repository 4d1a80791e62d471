"""A folder that a command writes: whole or not at all, and never over what was there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class OutputRefused(ValueError):
    """Nothing can be written there. The message says what was expected."""


def check(folder: Path) -> None:
    """Raise OutputRefused unless the folder is new or empty, in a folder that is there."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise OutputRefused(f"Expected --output to be a folder. Received: {folder}")
    if folder.exists() and any(folder.iterdir()):
        raise OutputRefused(f"Expected --output to be a new or an empty folder. Received: {folder}")
    if not folder.absolute().parent.is_dir():
        raise OutputRefused(f"Expected --output in a folder that is there. Received: {folder}")


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """Yield a folder that takes its place in `folder` when all went well, and else is gone.

    Raises OutputRefused as `check` does.
    """
    check(folder)
    with tempfile.TemporaryDirectory(dir=folder.absolute().parent, prefix=".output-") as beside:
        made = Path(beside) / "whole"
        made.mkdir()
        yield made
        if folder.exists():
            folder.rmdir()
        made.rename(folder)
