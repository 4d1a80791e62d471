"""Who works on a request: taken, kept, given back and ended by conditional updates.

A task may run twice and a worker may be cut off from the database: a row says who holds it, and
whoever finds another's token there lets go.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from training.models import Outcome, TrainingRequest, TrainingRun
from training.request_rows import RequestState, lease

# A run that takes its process down each time is not the machines' fault.
MOST_ATTEMPTS = 3
KILLED = "Its process was killed. It goes on from what was saved last."


class Turn(Enum):
    """What came of the wish to work on a request."""

    TAKEN = "taken"
    NOT_YET = "not yet"  # others are before it, or its last process may still be alive
    OVER = "over"  # there is nothing to do


@dataclass(frozen=True)
class Heard:
    """What a process learns each time that it says it is alive.

    Attributes:
        lost: the request is no longer this process'.
        stop_asked: a person asked to stop.
    """

    lost: bool
    stop_asked: bool


def take(request_id: UUID, holder: str) -> Turn:
    """Make `holder` the one that works on the request, if it is its turn and there is room.

    A request whose process is gone is taken again, before those that wait.
    """
    give_up_hopeless()
    request = TrainingRequest.objects.open().filter(pk=request_id).first()
    if request is None:
        return Turn.OVER
    if _next() != request_id or not _run_is_free(request):
        return Turn.NOT_YET
    slots = range(1, settings.TRAINING_AT_ONCE + 1)
    return Turn.TAKEN if any(_claim(request, holder, slot) for slot in slots) else Turn.NOT_YET


def keep(request_id: UUID, holder: str, *, log: str | None = None, steady: bool = False) -> Heard:
    """Say that `holder` is alive, and what its session said if that is new.

    Whoever is `steady`, alive for long, does not count any more as one that may be killed by
    what it trains.
    """
    held = TrainingRequest.objects.running().filter(pk=request_id, holder=holder)
    said: dict[str, Any] = {} if log is None else {"log": log}
    if steady:
        said["attempts"] = 1
    if not held.update(heard_at=timezone.now(), **said):
        return Heard(lost=True, stop_asked=False)
    return Heard(lost=False, stop_asked=held.exclude(stop_asked_at=None).exists())


def end(
    request_id: UUID, holder: str, state: RequestState, reason: str = "", **fields: Any
) -> bool:
    """Write how the request ended; False if it was another's by now."""
    held = TrainingRequest.objects.running().filter(pk=request_id, holder=holder)
    return bool(
        held.update(
            state=state, reason=reason, ended_at=timezone.now(), holder="", slot=None, **fields
        )
    )


def give_back(request_id: UUID, holder: str, **fields: Any) -> bool:
    """Let the request wait again, first in line; False if it was another's by now."""
    held = TrainingRequest.objects.running().filter(pk=request_id, holder=holder)
    return bool(held.update(state=RequestState.WAITING, holder="", slot=None, attempts=0, **fields))


def give_up_hopeless() -> int:
    """End the requests whose processes were killed again and again; return how many."""
    hopeless = TrainingRequest.objects.silent().filter(attempts__gte=MOST_ATTEMPTS)
    return hopeless.update(
        state=RequestState.FAILED,
        reason=f"{MOST_ATTEMPTS} processes that trained it were killed, one after the other.",
        ended_at=timezone.now(),
        holder="",
        slot=None,
    )


def _next() -> UUID | None:
    """Return the request whose turn it is; those that were left come first: they hold a slot."""
    left = TrainingRequest.objects.silent().order_by("id").values_list("pk", flat=True)
    waiting = TrainingRequest.objects.waiting().values_list("pk", flat=True)
    return left.first() or waiting.first()


def _run_is_free(request: TrainingRequest) -> bool:
    """Whether the process that trained a request's run before is gone, and note it in the row."""
    run = request.run
    if run is None or run.outcome != Outcome.RUNNING or request.state == RequestState.WAITING:
        return True
    if run.is_held:
        return False
    TrainingRun.objects.filter(pk=run.pk, outcome=Outcome.RUNNING).update(
        outcome=Outcome.STOPPED, reason=KILLED, ended_at=run.heard_at
    )
    return True


def _claim(request: TrainingRequest, holder: str, slot: int) -> bool:
    """Take the request as it was seen, in this slot; False if either is somebody's by now."""
    now = timezone.now()
    seen = TrainingRequest.objects.filter(
        pk=request.pk, state=request.state, holder=request.holder, heard_at=request.heard_at
    )
    try:
        with transaction.atomic():
            return bool(
                seen.update(
                    state=RequestState.RUNNING,
                    holder=holder,
                    heard_at=now,
                    slot=slot,
                    started_at=request.started_at or now,
                    attempts=F("attempts") + 1,
                )
            )
    except IntegrityError:  # the slot is taken
        return False


__all__ = ["Heard", "Turn", "end", "give_back", "give_up_hopeless", "keep", "lease", "take"]
