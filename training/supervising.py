"""The use case of a training worker: one request, trained by a process of its own.

A process of its own gives back all memory that TensorFlow took, and may be killed without taking
the worker along. It runs at a lower priority than what serves. No Keras here.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from types import FrameType
from typing import IO, Any, Self
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.utils import timezone
from django.utils.crypto import get_random_string

from training import leases
from training.leases import Turn
from training.management.environment import NEEDED
from training.models import Outcome, RequestState, TrainingRequest, TrainingRun

SECONDS_BETWEEN_TOUCHES = 2.0
LAST_BYTES = 4_000  # of what a process wrote that ended without a word


def work(request_id: UUID) -> Turn:
    """Take the request, let a process train it and wait for its end.

    Turn.NOT_YET: it is not its turn, or it waits again since this worker is being stopped.
    """
    holder = get_random_string(32)
    with _Stopping() as stopping:
        turn = leases.take(request_id, holder)
        if turn is not Turn.TAKEN:
            return turn
        if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
            leases.end(request_id, holder, RequestState.FAILED, _no_environment(missing))
            return Turn.OVER
        with tempfile.TemporaryFile() as output:
            code = _train(request_id, holder, output, stopping)
            if code:
                _say_why(request_id, holder, code, _last_words(output))
    waits = TrainingRequest.objects.waiting().filter(pk=request_id).exists()
    return Turn.NOT_YET if waits else Turn.OVER


class _Stopping:
    """Lets what stops the worker stop the training too: gently, a checkpoint is kept."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._stop)
        return self

    def __exit__(self, *raised: object) -> None:
        for number, receiver in self._before.items():
            signal.signal(number, receiver)

    def reach(self, process: subprocess.Popen[bytes]) -> None:
        """Stop this process when the time comes, or now if it came before."""
        self._process = process
        if self._asked:
            process.terminate()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        if self._process is not None:
            self._process.terminate()
        receiver = self._before[number]
        if callable(receiver):
            receiver(number, frame)


def _train(request_id: UUID, holder: str, output: IO[bytes], stopping: _Stopping) -> int:
    """Let a process train and return its exit code; keep the lease until it does so itself."""
    process = _start(request_id, holder, output)
    stopping.reach(process)
    try:
        while True:
            with suppress(subprocess.TimeoutExpired):
                return process.wait(SECONDS_BETWEEN_TOUCHES)
            with suppress(DatabaseError, InterfaceError):
                leases.keep(request_id, holder)
    finally:
        if process.poll() is None:
            process.terminate()


def _start(request_id: UUID, holder: str, output: IO[bytes]) -> subprocess.Popen[bytes]:
    words = ["manage.py", "train_requested", str(request_id), "--holder", holder]
    process = subprocess.Popen(  # noqa: S603 (this Python, with words of ours)
        [sys.executable, *words],
        cwd=settings.BASE_DIR,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        # Ctrl-C in a terminal reaches the worker alone, and it decides.
        start_new_session=True,
    )
    # It may have ended already, and a worker may be nicer than that itself.
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process.pid, max(settings.TRAINING_NICENESS, os.nice(0)))
    return process


def _say_why(request_id: UUID, holder: str, code: int, words: str) -> None:
    """Write down that the process ended without a word of its own, and its run with it."""
    request = TrainingRequest.objects.filter(pk=request_id, holder=holder).first()
    if request is None:
        return
    if -code in (signal.SIGTERM, signal.SIGINT):  # stopped before it could hear that
        leases.give_back(request_id, holder)
        return
    reason = _killed(-code) if code < 0 else f"The training process ended with exit code {code}."
    log = "\n".join(text for text in (request.log, words) if text)
    ended = leases.end(request_id, holder, RequestState.FAILED, reason, log=log)
    if ended and request.run_id:
        TrainingRun.objects.filter(pk=request.run_id, outcome=Outcome.RUNNING).update(
            outcome=Outcome.CRASHED, reason=reason, ended_at=timezone.now(), phase=""
        )


def _killed(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    memory = " The machine does that when memory runs out." if number == signal.SIGKILL else ""
    return f"The training process was killed ({name}).{memory} What was saved before is kept."


def _last_words(output: IO[bytes]) -> str:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - LAST_BYTES))
    return output.read().decode(errors="replace").replace("\x00", "").strip()


def _no_environment(missing: list[str]) -> str:
    python = settings.TRAINING_PYTHON or ".venv-training/bin/python"
    return (
        f"The worker that took it cannot train: its environment lacks {', '.join(missing)}. Stop "
        f"it and start: {python} manage.py worker --queue training"
    )
