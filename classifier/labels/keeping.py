"""The folder of exported and imported files: beside the pictures, for the owner of all this alone.

Web and worker share it as they share the pictures. Files have random names; nothing in it is ever
shown but through a view that asks whose it is.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from django.conf import settings

logger = logging.getLogger(__name__)

# So much is left free: an export must not be what keeps the next picture out.
RESERVE_BYTES = 200_000_000
# A file of no row may be one whose row is about to be written.
ORPHAN_SECONDS = 3600
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class NoRoom(Exception):
    """The disk has no room for the file; `str()` is a sentence for a person."""

    def __init__(self) -> None:
        super().__init__(
            "There is no room left on the disk for this file. Ask for less, or tell the "
            "administrator."
        )


def folder() -> Path:
    """Return the folder, which is made if it is missing."""
    path = Path(settings.MEDIA_ROOT) / "transfers"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def path_of(name: str) -> Path:
    """Return where a file is; ValueError for what is no name that `create` gave."""
    if not name or Path(name).name != name or name.startswith("."):
        raise ValueError(f"Expected the name of a kept file. Received: {name!r}")
    return folder() / name


def new_name(ending: str) -> str:
    return f"{secrets.token_hex(16)}.{ending}"


@contextmanager
def writing(name: str) -> Iterator[BinaryIO]:
    """Open a new file to be written; it goes again if the block raises. Raises NoRoom, OSError."""
    path = path_of(name)
    try:
        with open(path, "xb", opener=_private) as file:
            yield file
            file.flush()
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in _FULL:
            raise NoRoom from error
        raise


def keep(chunks: Iterable[bytes], ending: str) -> tuple[str, int]:
    """Write a new file; return its name and its size in bytes. Raises NoRoom, OSError."""
    name = new_name(ending)
    with writing(name) as file:
        check_room()
        size = sum(file.write(chunk) for chunk in chunks)
    return name, size


def check_room() -> None:
    """Raise NoRoom if the reserve is all that is left."""
    if shutil.disk_usage(folder()).free < RESERVE_BYTES:
        raise NoRoom


def discard(*names: str) -> None:
    """Delete files, if they are there. What cannot be deleted is said in the log."""
    for name in filter(None, names):
        try:
            path_of(name).unlink(missing_ok=True)
        except OSError:
            logger.exception("The file %s could not be deleted.", name)


def orphans(known: frozenset[str]) -> list[str]:
    """Return the files that are none of the known and were not written to for an hour."""
    before = time.time() - ORPHAN_SECONDS
    files = [path for path in folder().iterdir() if path.name not in known]
    return [path.name for path in files if _modified(path) < before]


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
