"""The background worker: runs the tasks of its queues, and puts back what a killed one left.

django-tasks-db leaves the task of a killed worker "running" for ever. Here a worker's heartbeat is
a row that a thread of its own touches; a task that is running under a worker without a fresh
heartbeat is put back, a bounded number of times. A task may therefore run twice: each is written
so that this does no harm.
"""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import InterfaceError, OperationalError, close_old_connections, connections
from django.db.models import Q
from django.tasks import task_backends
from django.utils import timezone
from django.utils.crypto import get_random_string
from django_tasks_db.backend import DatabaseBackend
from django_tasks_db.management.commands.db_worker import Worker as DatabaseWorker
from django_tasks_db.models import DBTaskResult, DBTaskResultQuerySet
from django_tasks_db.utils import exclusive_transaction

from classifier.models import WorkerHeartbeat

logger = logging.getLogger(__name__)

BACKEND = "default"
# A task that kills its worker again and again is not the workers' fault.
MAX_RUNS = 5
LOST = timedelta(seconds=30)
# How often a heartbeat is touched within the time after which it counts as lost.
BEATS = 6
HOUSEKEEPING_SECONDS = 60.0
KEEP_SUCCESSFUL = timedelta(days=7)
KEEP_FAILED = timedelta(days=30)
PRUNE_BATCH = 1000
# A database that does not answer: waited for, then left to whoever supervises the worker.
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
PATIENCE_SECONDS = 600.0
SLICE_SECONDS = 0.2
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)

Chore = Callable[[], object]
DATABASE_AWAY = (OperationalError, InterfaceError)


_chores: dict[str, list[Chore]] = {}


def register_chore(queue: str, chore: Chore) -> None:
    """Let every worker of a queue do this about once a minute; rooms that know more bring theirs.

    A chore may run in several workers at once, and while a task runs.
    """
    _chores.setdefault(queue, []).append(chore)


def chores_of(queues: Sequence[str]) -> list[Chore]:
    return [chore for queue in queues for chore in _chores.get(queue, ())]


class WorkerLost(Exception):
    """The workers that ran a task were killed, every time."""


def put_back_lost_tasks(queues: Sequence[str], lost_after: timedelta = LOST) -> int:
    """Make ready again what runs under workers whose heartbeat is gone; return how many.

    A task that was run MAX_RUNS times becomes failed instead.
    """
    now = timezone.now()
    alive = set(
        WorkerHeartbeat.objects.filter(seen_at__gte=now - lost_after).values_list("id", flat=True)
    )
    running = _in(queues).running().filter(started_at__lt=now - lost_after)
    lost = [row for row in running if not (row.worker_ids and row.worker_ids[-1] in alive)]
    return sum(_put_back(row) for row in lost)


def prune() -> int:
    """Delete task results nobody asks for any more, and the heartbeats of workers long gone."""
    now = timezone.now()
    WorkerHeartbeat.objects.filter(seen_at__lt=now - timedelta(days=1)).delete()
    old = DBTaskResult.objects.filter(
        Q(status="SUCCESSFUL", finished_at__lt=now - KEEP_SUCCESSFUL)
        | Q(status="FAILED", finished_at__lt=now - KEEP_FAILED)
    )
    ids = list(old.order_by("finished_at").values_list("id", flat=True)[:PRUNE_BATCH])
    return DBTaskResult.objects.filter(id__in=ids).delete()[0]


def _in(queues: Sequence[str]) -> DBTaskResultQuerySet:
    return DBTaskResult.objects.filter(backend_name=BACKEND, queue_name__in=queues)


def _put_back(row: DBTaskResult[Any, Any]) -> int:
    # Conditional: its worker may have come to the end of it, or another may have put it back.
    still = DBTaskResult.objects.filter(id=row.id, status="RUNNING", started_at=row.started_at)
    if len(row.worker_ids) < MAX_RUNS:
        updated = still.update(status="READY", started_at=None)
        logger.warning("Task %s was left by a lost worker; it is ready again.", row.id)
        return updated
    still.update(
        status="FAILED",
        finished_at=timezone.now(),
        exception_class_path=f"{WorkerLost.__module__}.{WorkerLost.__qualname__}",
        traceback=f"{MAX_RUNS} workers were killed while they ran this task.",
    )
    logger.error("Task %s was left by %d lost workers; it is given up.", row.id, MAX_RUNS)
    return 0


class Housekeeping(threading.Thread):
    """Touches the worker's heartbeat, and now and then does chores, while a task runs, too."""

    def __init__(
        self, heartbeat: WorkerHeartbeat, *, every: float, chores: Sequence[Chore]
    ) -> None:
        super().__init__(name="housekeeping", daemon=True)
        self._heartbeat = heartbeat
        self._every = every
        self._chores = chores
        self._chores_due = 0.0
        self._over = threading.Event()

    def run(self) -> None:
        try:
            while not self._over.wait(self._every):
                self._round()
        finally:
            connections.close_all()

    def stop(self) -> None:
        self._over.set()
        self.join(timeout=5)

    def _round(self) -> None:
        try:
            close_old_connections()
            beat(self._heartbeat)
            if time.monotonic() >= self._chores_due:
                self._chores_due = time.monotonic() + HOUSEKEEPING_SECONDS
                for chore in self._chores:
                    chore()
        except DATABASE_AWAY as exc:
            logger.warning("No heartbeat: the database does not answer: %s", exc)
            connections.close_all()


def beat(heartbeat: WorkerHeartbeat) -> None:
    """Write that the worker is alive now; its row may have been pruned while the machine slept."""
    heartbeat.seen_at = timezone.now()
    heartbeat.save()


class Worker(DatabaseWorker):
    """Runs tasks one after another until it is told to stop.

    ``interval`` is how many seconds it waits when there is nothing to do. The first SIGTERM or
    SIGINT lets the task of the moment end; a second one ends the process at once, and the task is
    put back when the heartbeat is found to be gone.
    """

    def __init__(
        self,
        queues: Sequence[str],
        *,
        interval: float = 1.0,
        lost_after: timedelta = LOST,
        batch: bool = False,
        chores: Sequence[Chore] = (),
    ) -> None:
        if not isinstance(task_backends[BACKEND], DatabaseBackend):
            raise ImproperlyConfigured("The worker needs django_tasks_db.DatabaseBackend in TASKS.")
        super().__init__(
            queue_names=list(queues),
            interval=interval,
            batch=batch,
            backend_name=BACKEND,
            startup_delay=False,
            max_tasks=None,
            worker_id=f"{socket.gethostname()[:30]}-{os.getpid()}-{get_random_string(12)}",
            excluded_queue_names=[],
        )
        self.lost_after = lost_after
        self._housekeeping_started = False
        self._pause = FIRST_PAUSE_SECONDS
        self._answered_at = time.monotonic()
        self._heartbeat = WorkerHeartbeat(id=self.worker_id, queues=",".join(queues))
        self._housekeeping = Housekeeping(
            self._heartbeat,
            every=lost_after.total_seconds() / BEATS,
            chores=(self._put_back_lost, prune, *chores),
        )

    def shutdown(self, signum: int, frame: FrameType | None) -> None:
        name = signal.Signals(signum).name
        if not self.running:
            logger.warning("%s again: ending at once.", name)
            os._exit(1)
        logger.info("%s: stopping%s.", name, " after this task" if self.running_task else "")
        self.running = False

    @contextmanager
    def stopped_by_signals(self) -> Iterator[None]:
        """Take SIGTERM, SIGINT and SIGQUIT as the wish to stop, and give them back after."""
        before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
        self.configure_signals()
        try:
            yield
        finally:
            for number, receiver in before.items():
                signal.signal(number, receiver)

    def run(self) -> None:
        """Work until told to stop, or until nothing is left to do (``batch``).

        Raises OperationalError when the database has not answered for PATIENCE_SECONDS.
        """
        logger.info("Worker %s takes the queues %s.", self.worker_id, ", ".join(self.queue_names))
        try:
            while self.running and self._step():
                pass
        finally:
            self._say_goodbye()
        logger.info("Worker %s has stopped.", self.worker_id)

    def _step(self) -> bool:
        """Run one task, or wait; False when a batch is done."""
        try:
            self._start_housekeeping()
            close_old_connections()
            row = self._claim()
            if row is not None:
                self.run_task(row)
        except DATABASE_AWAY as exc:
            self._endure(exc)
            return True
        self._pause, self._answered_at = FIRST_PAUSE_SECONDS, time.monotonic()
        if row is None:
            if self.batch:
                return False
            self._sleep(self.interval)
        return True

    def _start_housekeeping(self) -> None:
        if not self._housekeeping_started:
            # The heartbeat stands before the first task is claimed.
            beat(self._heartbeat)
            self._release_own()
            self._put_back_lost()
            self._housekeeping.start()
            self._housekeeping_started = True
        elif not self._housekeeping.is_alive():
            raise RuntimeError("The heartbeat has stopped; see the log for why.")

    def _claim(self) -> DBTaskResult[Any, Any] | None:
        """Take the next task; None when there is none. Nobody else can have it."""
        ready = _in(self.queue_names).ready()
        # Most of the time there is none; no write lock is taken to find out.
        if not ready.exists():
            return None
        with exclusive_transaction(ready.db):
            row = ready.get_locked()
            if row is not None:
                row.claim(self.worker_id)
        return row

    def _endure(self, exc: Exception) -> None:
        if time.monotonic() - self._answered_at > PATIENCE_SECONDS:
            raise exc
        logger.warning(
            "The database does not answer (%s). Trying again in %.0f s.", exc, self._pause
        )
        connections.close_all()
        self._sleep(self._pause)
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)
        if self.running and self._housekeeping_started:
            self._release_own_if_possible()

    def _release_own(self) -> None:
        """Put back what this worker claimed and could not end, for the database went away."""
        for row in _in(self.queue_names).running():
            if row.worker_ids and row.worker_ids[-1] == self.worker_id:
                _put_back(row)

    def _release_own_if_possible(self) -> None:
        try:
            self._release_own()
        except DATABASE_AWAY:
            connections.close_all()

    def _put_back_lost(self) -> None:
        put_back_lost_tasks(self.queue_names, self.lost_after)

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self.running and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, SLICE_SECONDS))

    def _say_goodbye(self) -> None:
        if self._housekeeping_started:
            self._housekeeping.stop()
        try:
            self._release_own()
            self._heartbeat.delete()
        except DATABASE_AWAY:
            logger.warning("The database does not answer; the heartbeat will be missed instead.")
