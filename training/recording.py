"""Keeps a run's row in the database up to date while it runs, and never stands in its way.

A thread of its own writes: a database that is locked, slow or gone costs the training nothing
but the row's freshness. What could not be written is written with the next line that can.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from django.db import DatabaseError, InterfaceError, connection
from django.utils import timezone

from training.models import Outcome, TrainingRun
from training.progress import Epoch, Progress

logger = logging.getLogger(__name__)

LAST_WORD_SECONDS = 30.0


class RunRecord:
    """One run's row, written every `seconds` from `start` to `end`.

    Everything but these two only notes what the next line will say, and cannot fail.
    """

    SECONDS = 2.0

    def __init__(self, run: TrainingRun) -> None:
        self.run = run
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._over = False
        self._unwritten = True
        self._complained = False
        self._thread = threading.Thread(target=self._keep_writing, name="run-record", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def note(self, **fields: Any) -> None:
        """Set fields of the row, such as `phase="training"`."""
        with self._lock:
            for name, value in fields.items():
                setattr(self.run, name, value)
            self._unwritten = True

    def report(self, event: Progress | Epoch) -> None:
        """Take what a trainer says of itself, as its `report` argument."""
        if isinstance(event, Epoch):
            line = _line(event)
            history = [past for past in self.run.history if past["epoch"] < event.epoch]
            self.note(
                history=[*history, line],
                epoch=event.epoch,
                validation_accuracy=_storable(event.validation_accuracy),
            )
            return
        self.note(
            epoch=event.epoch,
            epochs=event.epochs,
            step=event.step,
            steps=event.steps,
            loss=_storable(event.loss),
            accuracy=_storable(event.accuracy),
            seconds_left=_storable(event.seconds_left),
        )

    def remember(self, epochs: Sequence[Epoch]) -> None:
        """Take over the epochs of a checkpoint: the row may know of fewer, or of more."""
        self.note(history=[_line(epoch) for epoch in epochs])

    def end(self, outcome: Outcome, reason: str = "", **fields: Any) -> bool:
        """Write the last word and stop; return whether the database has it."""
        self.note(
            outcome=outcome, reason=reason, ended_at=timezone.now(), seconds_left=None, **fields
        )
        self._over = True
        self._wake.set()
        self._thread.join(LAST_WORD_SECONDS)
        if self._unwritten:
            logger.warning("How this run ended is not in the database; its folder says it.")
        return not self._unwritten

    def _keep_writing(self) -> None:
        try:
            while True:
                over = self._over
                self._write()
                if over:
                    return
                self._wake.wait(self.SECONDS)
        finally:
            connection.close()

    def _write(self) -> None:
        """Write the row as it is now; on failure say so once and leave it to the next time."""
        with self._lock:
            self.run.heard_at = timezone.now()
            # A copy: the training goes on noting while the database is slow.
            fields = {field.attname: getattr(self.run, field.attname) for field in _FIELDS}
            self._unwritten = False
        try:
            connection.close_if_unusable_or_obsolete()
            if not TrainingRun.objects.filter(pk=self.run.pk).update(**fields):
                TrainingRun(**fields).save(force_insert=True)
        # ValueError: text that no database takes, such as a NUL in a message.
        except (DatabaseError, InterfaceError, OSError, ValueError) as exc:
            self._unwritten = True
            self._complain(exc)
            connection.close()
        else:
            self._complained = False

    def _complain(self, exc: Exception) -> None:
        if not self._complained:
            logger.warning(
                "The run cannot be written to the database and goes on without (%s: %s). If "
                "there is no such table: python manage.py migrate",
                type(exc).__name__,
                str(exc).strip().partition("\n")[0],
            )
        self._complained = True


_FIELDS = TrainingRun._meta.concrete_fields


def metrics_of(measured: Mapping[str, Any]) -> dict[str, Any]:
    """Return a manifest's metrics as a JSON column takes them: without NaN and infinities."""
    return {key: _clean(value) for key, value in measured.items()}


def _clean(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _clean(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(inner) for inner in value]
    return _storable(value) if isinstance(value, float) else value


def _line(epoch: Epoch) -> dict[str, Any]:
    return {key: _storable(value) for key, value in asdict(epoch).items()}


def _storable(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
