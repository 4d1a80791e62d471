"""The header Idempotency-Key: a request that is sent again is carried out once.

As draft-ietf-httpapi-idempotency-key-header-07 has it. The answer is stored in the transaction that
records what it tells of, so that a process killed in between leaves either both or neither. Only
what succeeded is stored: an error left nothing behind, and trying again is right.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from classifier.access import StoredAnswer
from classifier.api.answers import JSON
from classifier.api.callers import Caller
from classifier.api.problems import Problem

KEPT = timedelta(hours=24)
# A process that was killed never answers: after this long another may carry the request out.
LEASE = timedelta(minutes=5)
LONGEST_KEY = 255
REPLAYED = "Idempotency-Replayed"
SWEEP_SECONDS = 300.0
SWEEP_ROWS = 1000
# Where a sweep left some: a program with a key for every call makes them faster than the first.
SWEEP_ON_SECONDS = 1.0

# A Structured Fields string (RFC 9651, section 3.3.3) or, as most programs write it, bare.
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_BARE = re.compile(r"[!#-~]+")

Settle = Callable[[HttpResponse], None]

_sweep_again_at = 0.0


def once(
    request: HttpRequest,
    caller: Caller,
    parts: Callable[[], Iterable[str]],
    carry_out: Callable[[Settle | None], HttpResponse],
) -> HttpResponse:
    """Carry a request out, or answer as it was answered before.

    `parts` tells this request from others at the same address with the same query. `carry_out`
    calls what it is given, if anything, with its answer, in the transaction that records. Raises
    Problem: 400, 409 and 422 for what is wrong with the key, and what `carry_out` raises.
    """
    key = key_of(request)
    if key is None:
        return carry_out(None)
    sweep()
    claim = _claim(caller, key, _fingerprint(request, parts()))
    if isinstance(claim, HttpResponse):
        return claim
    try:
        return carry_out(claim.settle)
    except BaseException:
        claim.release()
        raise


def key_of(request: HttpRequest) -> str | None:
    """Return the request's key, None if it has none. Raises Problem for one that is no key."""
    header: str | None = request.META.get("HTTP_IDEMPOTENCY_KEY")
    if header is None:
        return None
    text = header.strip()
    if quoted := _QUOTED.fullmatch(text):
        text = re.sub(r"\\(.)", r"\1", quoted[1])
    elif not _BARE.fullmatch(text):
        raise Problem("bad_idempotency_key")
    if not 1 <= len(text) <= LONGEST_KEY:
        raise Problem("bad_idempotency_key")
    return text


@dataclass(frozen=True)
class _Claim:
    """The right to carry out the request of a row, for as long as the lease runs."""

    row_id: int
    started_at: datetime

    def settle(self, answer: HttpResponse) -> None:
        """Store the answer; raises Problem (409) if another took the request over meanwhile."""
        stored = self._mine().update(
            status=answer.status_code,
            body=answer.content.decode(),
            location=answer.headers.get("Location", ""),
        )
        if not stored:
            raise Problem("idempotency_in_progress")

    def release(self) -> None:
        """Make room for another try, where nothing was stored."""
        # The database may be what failed: then the lease runs out.
        with suppress(DatabaseError):
            self._mine().delete()

    def _mine(self) -> QuerySet[StoredAnswer]:
        return StoredAnswer.objects.filter(pk=self.row_id, started_at=self.started_at, status=None)


def _claim(caller: Caller, key: str, fingerprint: str) -> _Claim | HttpResponse:
    """Return the right to carry the request out, or the answer of when it was. Raises Problem."""
    now = timezone.now()
    try:
        with transaction.atomic():
            row = StoredAnswer.objects.create(
                caller=caller.key,
                key=key,
                person=caller.person,
                fingerprint=fingerprint,
                started_at=now,
            )
        return _Claim(row.pk, now)
    except IntegrityError:
        found = StoredAnswer.objects.filter(caller=caller.key, key=key).first()
    if found is None:  # deleted in this moment
        raise _in_progress()
    if _is_over(found, now):
        return _take_over(found, fingerprint, now)
    if found.fingerprint != fingerprint:
        raise Problem("idempotency_key_reused")
    if found.status is None:
        raise _in_progress()
    return _replay(found)


def _is_over(row: StoredAnswer, now: datetime) -> bool:
    return row.started_at < now - (LEASE if row.status is None else KEPT)


def _take_over(row: StoredAnswer, fingerprint: str, now: datetime) -> _Claim:
    taken = StoredAnswer.objects.filter(pk=row.pk, started_at=row.started_at).update(
        fingerprint=fingerprint, status=None, body="", location="", started_at=now
    )
    if not taken:
        raise _in_progress()
    return _Claim(row.pk, now)


def _in_progress() -> Problem:
    return Problem("idempotency_in_progress", headers={"Retry-After": "1"})


def _replay(row: StoredAnswer) -> HttpResponse:
    headers = {REPLAYED: "true"} | ({"Location": row.location} if row.location else {})
    return HttpResponse(row.body, content_type=JSON, status=row.status, headers=headers)


def _fingerprint(request: HttpRequest, parts: Iterable[str]) -> str:
    """Return a digest of what is asked for; a form's framing differs each time it is sent."""
    query = sorted((name, value) for name, values in request.GET.lists() for value in values)
    said = [str(request.method), request.path, *map(repr, query), *parts]
    return hashlib.sha256("\n".join(map(repr, said)).encode()).hexdigest()


def sweep() -> int:
    """Every few minutes in each process: delete answers older than a day; return how many.

    A thousand at a time, so that no request pays for many; where there are more, soon again.
    """
    global _sweep_again_at
    if time.monotonic() < _sweep_again_at:
        return 0
    _sweep_again_at = time.monotonic() + SWEEP_SECONDS
    old = StoredAnswer.objects.filter(started_at__lt=timezone.now() - KEPT)
    ids = list(old.order_by("started_at").values_list("pk", flat=True)[:SWEEP_ROWS])
    if len(ids) == SWEEP_ROWS:
        _sweep_again_at = time.monotonic() + SWEEP_ON_SECONDS
    return old.filter(pk__in=ids).delete()[0] if ids else 0
