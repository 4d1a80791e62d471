"""Where the processes of one web server count together: a folder that they share.

prometheus_client decides at import whether to count in this folder, by an environment variable, so
nothing here imports it before the folder stands. A process that ends leaves its files; what they
counted is added to one pair of files, else a server that replaces its processes (WEB_MAX_REQUESTS)
would read more and more of them at each scrape.
"""

import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

_PREFIX = "classifyme-metrics-"
# Memory rather than a disk: a count in a mapped file must never wait for one.
_MEMORY = Path("/dev/shm")  # noqa: S108
# Between a folder's making and its lock; a younger one is nobody's left-over.
_YOUNG_SECONDS = 60.0
_ENDED = "ended"


def make(root: Path | None = None) -> Path:
    """Make the folder, name it in the environment and return it; for the parent of all processes.

    What servers that were killed left is deleted first. The folder counts as in use while this
    process or one forked from it lives.
    """
    root = root or (_MEMORY if os.access(_MEMORY, os.W_OK) else Path(tempfile.gettempdir()))
    _sweep(root)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
    # Never closed: the lock ends with the last process that has it.
    fcntl.flock(_lock_file(folder, "owner"), fcntl.LOCK_EX)
    os.environ[VARIABLE] = str(folder)
    return folder


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def bury(pid: int, folder: Path) -> None:
    """Add what a process that has ended counted to what other ended ones did."""
    multiprocess = import_module("prometheus_client.multiprocess")
    with locked(folder, shared=False):
        multiprocess.mark_process_dead(pid, str(folder))
        for kind in ("counter", "histogram"):
            file = folder / f"{kind}_{pid}.db"
            if file.exists():
                _add(file, folder / f"{kind}_{_ENDED}.db")
                file.unlink()


@contextmanager
def locked(folder: Path, *, shared: bool) -> Iterator[None]:
    """Within, no ended process' counts are half here and half there."""
    lock = _lock_file(folder, "lock")
    try:
        fcntl.flock(lock, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _add(file: Path, to: Path) -> None:
    counts = import_module("prometheus_client.mmap_dict").MmapedDict
    total = counts(str(to))
    try:
        for key, value, timestamp, _ in counts.read_all_values_from_file(str(file)):
            before, _ = total.read_value(key)
            total.write_value(key, before + value, timestamp)
    finally:
        total.close()


def _lock_file(folder: Path, name: str) -> int:
    return os.open(folder / name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)


def _sweep(root: Path) -> None:
    """Delete the folders of this user that no process holds any more."""
    for folder in root.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            found = folder.lstat()
            old = found.st_mtime < time.time() - _YOUNG_SECONDS
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and old:
                _sweep_unless_held(folder)


def _sweep_unless_held(folder: Path) -> None:
    lock = _lock_file(folder, "owner")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove(folder)
    finally:
        os.close(lock)
