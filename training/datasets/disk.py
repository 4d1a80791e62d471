"""Writing large files: all or nothing, with what went wrong said in a sentence."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from training.datasets.dataset import DatasetError

_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say in our words what the operating system raises over writing `path`.

    Raises:
        DatasetError: the disk is full, the folder may not be written, or the like.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DatasetError(
                f"The disk is full: {path} could not be written. Make room, or set DATASETS_ROOT "
                "to a folder on a larger disk, and run the command again."
            ) from error
        raise DatasetError(f"{path} could not be written: {error.strerror or error}.") from error


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that takes the place of `path` only when all of it is on the disk.

    Raises:
        DatasetError: it cannot be written; what stood at `path` before still stands there.
    """
    part = path.with_name(f"{path.name}.new")
    with writing(path):
        try:
            with part.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Make the folder and hold it against other processes that would write the same files.

    Raises:
        DatasetError: another process holds it, or it cannot be made.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DatasetError(
                f"Another process is fetching to {folder} right now. Wait until it has finished."
            ) from error
        yield
    finally:
        os.close(descriptor)
