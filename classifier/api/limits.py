"""How often a caller may call, counted by all processes together in one row for each caller.

The generic cell rate algorithm (ITU-T I.371, annex A): a quota of n in a period refills evenly, one
call every period/n, and the row holds the moment when it will be full again. One statement decides
and counts, so that no two processes can give away the same call. The clock is that of the web
server: the servers of one installation must agree on the time, as TLS asks of them anyway.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponseBase

from classifier.access import RateLimit
from classifier.api.problems import Problem

if TYPE_CHECKING:
    from classifier.api.callers import Caller

MICROSECONDS = 1_000_000
SWEEP_SECONDS = 60.0
SWEEP_ROWS = 1000
SWEEP_ON_SECONDS = 1.0  # where a sweep left some

# The parameters: key, now, cost; then now, now, cost; then now, now, cost, now, period.
_TAKE = """
INSERT INTO classifier_ratelimit (key, full_at) VALUES (%s, %s + %s)
ON CONFLICT (key) DO UPDATE SET full_at =
    CASE WHEN classifier_ratelimit.full_at > %s THEN classifier_ratelimit.full_at ELSE %s END + %s
WHERE
    CASE WHEN classifier_ratelimit.full_at > %s THEN classifier_ratelimit.full_at ELSE %s END + %s
    <= %s + %s
RETURNING full_at
"""

_sweep_again_at = 0.0


@dataclass(frozen=True)
class Quota:
    """So many calls in so many seconds."""

    name: str
    calls: int
    seconds: int

    @property
    def interval(self) -> int:
        """Microseconds in which one call comes back, at least 1."""
        return max(1, self.seconds * MICROSECONDS // self.calls)


@dataclass(frozen=True)
class Standing:
    """What a caller has left of a quota."""

    quota: Quota
    allowed: bool
    remaining: int
    full_in: float
    retry_after: int = 0

    def headers(self) -> dict[str, str]:
        """Return the fields of draft-ietf-httpapi-ratelimit-headers-10."""
        quota = self.quota
        return {
            "RateLimit-Policy": f'"{quota.name}";q={quota.calls};w={quota.seconds}',
            "RateLimit": f'"{quota.name}";r={self.remaining};t={math.ceil(self.full_in)}',
        }


def charge(request: HttpRequest, caller: Caller, calls: int = 1, *, taken: int = 0) -> None:
    """Count so many calls of the caller's; raises Problem (429) if they are not left.

    `taken` calls were counted for the same request before. Without a quota nothing is asked of the
    database.
    """
    quota = quota_of(caller)
    if quota is None or min(calls, quota.calls - taken) < 1:
        return
    standing = take(caller.key, quota, calls, taken=taken)
    request.rate_limit = standing  # type: ignore[attr-defined]
    sweep()
    if not standing.allowed:
        wait = standing.retry_after
        detail = f"{quota.calls} calls in {quota.seconds} s are allowed. Come back in {wait} s."
        raise Problem("rate_limited", detail, headers={"Retry-After": str(wait)})


def quota_of(caller: Caller) -> Quota | None:
    name, rate = (
        ("token", settings.API_RATE_PER_TOKEN)
        if caller.token
        else ("address", settings.API_RATE_PER_ADDRESS)
    )
    return Quota(name, *rate) if rate else None


def take(
    key: str, quota: Quota, calls: int = 1, *, taken: int = 0, now: float | None = None
) -> Standing:
    """Take calls from the quota if they are left, all or none; more than all of it counts as all.

    All of it is less by what this request has `taken` before; and as another try takes that again,
    the wait makes room for it. `now` is Unix time in seconds.
    """
    moment = int((time.time() if now is None else now) * MICROSECONDS)
    period = quota.interval * quota.calls
    cost = quota.interval * min(calls, quota.calls - taken)
    parameters: list[str | int] = [key, moment, cost, *[moment, moment, cost] * 2, moment, period]
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, parameters)
        row = cursor.fetchone()
    if row is not None:
        return _standing(quota, row[0] - moment, allowed=True)
    full_at = RateLimit.objects.filter(key=key).values_list("full_at", flat=True).first()
    ahead = min(period, max(0, (full_at or moment) - moment))
    # What the caller has to wait for is that enough of the quota has come back.
    needed = cost + quota.interval * taken
    wait = max(1, math.ceil((ahead + needed - period) / MICROSECONDS))
    return _standing(quota, ahead, allowed=False, retry_after=wait)


def _standing(quota: Quota, ahead: int, *, allowed: bool, retry_after: int = 0) -> Standing:
    remaining = max(0, (quota.interval * quota.calls - ahead) // quota.interval)
    return Standing(quota, allowed, remaining, ahead / MICROSECONDS, retry_after)


def tell(request: HttpRequest, response: HttpResponseBase) -> None:
    """Write into the answer what the caller has left, if it was counted."""
    standing: Standing | None = getattr(request, "rate_limit", None)
    if standing is not None:
        for name, value in standing.headers().items():
            response.headers[name] = value


def sweep() -> int:
    """Once a minute in each process: delete the rows of full quotas; return how many."""
    global _sweep_again_at
    if time.monotonic() < _sweep_again_at:
        return 0
    _sweep_again_at = time.monotonic() + SWEEP_SECONDS
    full = RateLimit.objects.filter(full_at__lt=int(time.time() * MICROSECONDS))
    keys = list(full.order_by("full_at").values_list("key", flat=True)[:SWEEP_ROWS])
    if len(keys) == SWEEP_ROWS:
        _sweep_again_at = time.monotonic() + SWEEP_ON_SECONDS
    return full.filter(key__in=keys).delete()[0] if keys else 0
