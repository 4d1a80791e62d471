"""A training worker as `make run` starts it: a real process on the tests' own database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from django.conf import settings
from django.db import connection

from training.models import TrainingRequest

# A limit, not a wait: TensorFlow alone takes ten seconds to load on a busy machine.
PATIENCE_SECONDS = 240.0
# Less than by default: beside other tests it would get a tenth of a core.
NICENESS = 2


def database_url() -> str:
    """Return the address of the database that the tests run on."""
    if connection.vendor == "sqlite":
        return f"sqlite:///{connection.settings_dict['NAME']}"
    where = connection.settings_dict
    host = f"{where['HOST']}:{where['PORT'] or 5432}"
    return f"postgres://{where['USER']}:{where['PASSWORD']}@{host}/{where['NAME']}"


def start_worker(log: Path) -> subprocess.Popen[bytes]:
    """Start one that takes other workers for dead after two seconds of silence."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "classifyme.settings",
        "DATABASE_URL": database_url(),
        "TRAINING_LEASE_SECONDS": "2",
        "TRAINING_NICENESS": str(NICENESS),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **{
            name: str(getattr(settings, name))
            for name in ("MEDIA_ROOT", "BUNDLES_ROOT", "BUNDLE_CACHE", "DATASETS_ROOT", "RUNS_ROOT")
        },
    }
    command = ["manage.py", "worker", "--queue=training", "--interval=0.2", "--lost-after=2"]
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, *command],
            env=environment,
            stdout=out,
            stderr=out,
            cwd=settings.BASE_DIR,
        )


@contextmanager
def training_worker(log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker until the block ends; what it trains then ends with it."""
    process = start_worker(log)
    try:
        yield process
    finally:
        children = children_of(process.pid)
        process.kill()
        process.wait(PATIENCE_SECONDS)
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def children_of(pid: int) -> list[int]:
    """Return the processes that this one has started and that still run."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in children.read_text().split()] if children.exists() else []


def eventually(condition: Callable[[], object], log: Path | None = None) -> None:
    """Wait until the condition holds; what was said so far is told if it never does."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            rows = [
                (row.words, row.reason, row.log[-500:]) for row in TrainingRequest.objects.all()
            ]
            said = log.read_text()[-2_000:] if log else ""
            raise AssertionError(f"It did not happen in time. {rows} {said}")
        time.sleep(0.1)
