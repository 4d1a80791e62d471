"""The process that trains what was requested: says how it goes, and listens to whoever stops it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from enum import Enum
from types import FrameType
from uuid import UUID

from django.db import DatabaseError, InterfaceError, connection

from training import leases, orders, runs, sessions
from training.models import RequestState, TrainingRequest, TrainingRun
from training.orders import Order, Session, SessionError

LINES, WIDTH = 200, 300  # of the log that is kept
PAUSES = (0.5, 1, 2, 4, 8, 15)  # seconds


class Log:
    """A stream that keeps the last lines written to it; for several threads."""

    def __init__(self, before: str = "") -> None:
        self._lines: deque[str] = deque(before.splitlines(), maxlen=LINES)
        self._open = ""
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        with self._lock:
            *whole, self._open = (self._open + text.replace("\x00", "")).split("\n")
            self._lines.extend(line[:WIDTH] for line in whole)
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False

    def text(self) -> str:
        with self._lock:
            return "\n".join([*self._lines, *([self._open[:WIDTH]] if self._open else [])])


class Why(Enum):
    """Why a session was interrupted."""

    STOP_ASKED = "a person asked to stop"
    LOST = "another process has the request"
    OUTSIDE = "the worker, or the machine, is being stopped"


class Interrupts:
    """Turns the first SIGTERM or SIGINT into KeyboardInterrupt; further ones change nothing.

    A second one would cut off the checkpoint that the first one causes.
    """

    def __init__(self) -> None:
        self._armed = True
        self.why = Why.OUTSIDE
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._armed:
            self._armed = False
            raise KeyboardInterrupt

    def disarm(self) -> None:
        self._armed = False

    def cause(self, why: Why) -> None:
        """Interrupt the main thread, from another one, also where it waits for something."""
        if self._armed:
            self.why = why
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


class Keeper(threading.Thread):
    """Keeps the request's row: alive, what was said, which run; hears whether it shall stop.

    A database that does not answer costs the training nothing but the row's freshness.
    """

    SECONDS = 1.0
    STEADY_AFTER = 600.0

    def __init__(self, request: TrainingRequest, holder: str, log: Log, stop: Interrupts) -> None:
        super().__init__(name="request-keeper", daemon=True)
        self._request_id: UUID = request.pk
        self._holder, self._log, self._interrupts = holder, log, stop
        self._run_id: UUID | None = None
        self._written = request.log
        self._parent = os.getppid()
        self._steady_at = time.monotonic() + self.STEADY_AFTER
        self._over = threading.Event()

    def link(self, run_id: str) -> None:
        """Name the run that is trained, once its row stands."""
        self._run_id = UUID(run_id) if run_id else None

    def close(self) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        try:
            while not self._over.is_set():
                self._round()
                self._over.wait(self.SECONDS)
        finally:
            connection.close()

    def _round(self) -> None:
        if os.getppid() != self._parent:  # nobody waits for this process any more
            self._interrupts.cause(Why.OUTSIDE)
        try:
            connection.close_if_unusable_or_obsolete()
            text = self._log.text()
            new = text if text != self._written else None
            steady = time.monotonic() > self._steady_at
            heard = leases.keep(self._request_id, self._holder, log=new, steady=steady)
            self._written = text
            self.link_now()
        except (DatabaseError, InterfaceError):
            connection.close()
            return
        if heard.lost or heard.stop_asked:
            self._interrupts.cause(Why.LOST if heard.lost else Why.STOP_ASKED)

    def link_now(self) -> None:
        """Write the run into the request if its row is there."""
        if self._run_id and TrainingRun.objects.filter(pk=self._run_id).exists():
            held = TrainingRequest.objects.filter(pk=self._request_id, holder=self._holder)
            held.update(run_id=self._run_id)
            self._run_id = None


Train = Callable[[Session], sessions.Result]


def train(request: TrainingRequest, holder: str, log: Log, with_words: Train) -> None:
    """Train what was requested, register it if asked to, and write how it ended into the row.

    Args:
        with_words: runs a session and says how it goes, into `log`.

    Raises:
        Exception: what nobody had foreseen; the row says it too.
    """
    interrupts = Interrupts()
    keeper = Keeper(request, holder, log, interrupts)
    state, reason = RequestState.FAILED, ""
    try:
        keeper.start()
        _train(request, keeper, log, with_words)
        state = RequestState.FINISHED
    except SessionError as error:
        reason = str(error)
    except KeyboardInterrupt:
        state = RequestState.STOPPED
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}".replace("\x00", "")
        raise
    finally:
        interrupts.disarm()
        keeper.close()
        patiently(keeper.link_now)
        if state == RequestState.STOPPED and interrupts.why is Why.OUTSIDE:
            patiently(lambda: leases.give_back(request.pk, holder, log=log.text()))
        else:
            patiently(lambda: _end(request, holder, state, reason, log))


def _end(request: TrainingRequest, holder: str, state: RequestState, reason: str, log: Log) -> None:
    if state == RequestState.STOPPED:
        reason = _why_stopped(request)
    leases.end(request.pk, holder, state, reason, log=log.text())


def patiently(write: Callable[[], object]) -> None:
    """Write a last word into the database, also one that does not answer for half a minute.

    Raises:
        DatabaseError, InterfaceError: it still does not; the lease will run out.
    """
    for pause in PAUSES:
        try:
            write()
        except (DatabaseError, InterfaceError):
            connection.close()
            time.sleep(pause)
        else:
            return
    write()


def _train(request: TrainingRequest, keeper: Keeper, log: Log, with_words: Train) -> None:
    log.write(f"Reading the data of {request}.\n")
    with _session(request) as session:
        keeper.link(session.plan.run_id)
        result = with_words(session)
        if request.register:
            version = sessions.register(result, activate=False, by=request.requested_by)
            log.write(f"Registered as {version}.\n")


def _session(request: TrainingRequest) -> orders.Preparing:
    if request.run is None:
        return orders.prepared(order_of(request))
    # Killed before anything was saved: then it starts anew, in the same place.
    return orders.resumed(
        request.recipe, request.run.path, register=request.register, may_start=True
    )


def order_of(request: TrainingRequest) -> Order:
    """Return the order that a request stands for."""
    return Order(
        recipe=request.recipe,
        dataset=request.dataset or None,
        name=request.model_name or None,
        title=request.title or None,
        architecture=request.architecture or None,
        weights=request.weights or None,
        group_by=request.group_by or None,
        seed=request.seed,
        changes=request.changes,
        smoke=request.smoke,
        register=request.register,
    )


def _why_stopped(request: TrainingRequest) -> str:
    """Return who stopped it, and whether it can go on."""
    request.refresh_from_db(fields=["run", "stop_asked_by_name"])
    by = f"Stopped by {request.stop_asked_by_name}." if request.stop_asked_by_name else "Stopped."
    if request.run is None:
        return f"{by} Nothing was trained yet."
    if (request.run.path / runs.CHECKPOINT).is_file():
        return f"{by} It can go on from where it stood."
    return by
