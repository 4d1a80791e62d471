"""What /metrics answers, and whom."""

import hmac
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from django.db.models import Count, Max, Q
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django_tasks_db.models import DBTaskResult, get_date_max
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from classifier import metrics, worker
from classifier.models import WorkerHeartbeat

# A proxy on the same machine comes from the loopback address too; these tell of it.
_FORWARDED = ("HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP", "HTTP_VIA")


@never_cache
@require_safe
def scrape(request: HttpRequest) -> HttpResponse:
    """What is measured, as Prometheus reads it; for who has the token, or sits at this machine."""
    if settings.METRICS_TOKEN and not _has_token(request):
        response = HttpResponse("METRICS_TOKEN is asked for.\n", "text/plain", status=401)
        response["WWW-Authenticate"] = 'Bearer realm="metrics"'
        return response
    if not settings.METRICS_TOKEN and not _is_local(request):
        return HttpResponse(
            "Without METRICS_TOKEN metrics are for this machine alone.\n", "text/plain", status=403
        )
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(_Everything()), content_type)


def _has_token(request: HttpRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    right = settings.METRICS_TOKEN.encode()
    return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), right)


def _is_local(request: HttpRequest) -> bool:
    """Whether somebody at this machine asks, as far as can be told without a token."""
    if settings.HTTPS or settings.TRUST_PROXY or any(name in request.META for name in _FORWARDED):
        return False
    try:
        address = ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return False
    # A socket for both kinds tells of IPv4 in the words of IPv6.
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


class _Everything(Collector):
    """What processes counted, and what the database knows at this moment."""

    def collect(self) -> Iterator[Metric]:
        yield from metrics.collect()
        answers = GaugeMetricFamily("classifyme_database_up", "Whether the database answers.")
        try:
            found = [*_tasks(), *_workers()]
        except DatabaseError:
            found = []
        answers.add_metric((), 1.0 if found else 0.0)
        yield from (answers, *found)


def _queues() -> list[str]:
    backend: Any = settings.TASKS[worker.BACKEND]
    return list(backend["QUEUES"])


def _tasks() -> Iterable[Metric]:
    waiting = GaugeMetricFamily(
        "classifyme_tasks_waiting",
        "Background tasks that wait: due ones for a worker, later ones for their time.",
        labels=("queue", "when"),
    )
    # A task that may run at once stands there with the end of time.
    later = Q(run_after__gt=timezone.now(), run_after__lt=get_date_max())
    rows = DBTaskResult.objects.filter(status="READY", backend_name=worker.BACKEND)
    counts = {
        queue: (total - postponed, postponed)
        for queue, total, postponed in rows.values("queue_name")
        .annotate(total=Count("pk"), postponed=Count("pk", filter=later))
        .values_list("queue_name", "total", "postponed")
    }
    for queue in _queues():
        due, postponed = counts.get(queue, (0, 0))
        waiting.add_metric((queue, "due"), due)
        waiting.add_metric((queue, "later"), postponed)
    return [waiting]


def _workers() -> Iterable[Metric]:
    alive = GaugeMetricFamily(
        "classifyme_workers", "Workers alive, by the queue they take tasks from.", labels=("queue",)
    )
    seen = GaugeMetricFamily(
        "classifyme_worker_seen_timestamp_seconds",
        "The latest heartbeat of any worker of the queue, in seconds since 1970.",
        labels=("queue",),
    )
    fresh = timezone.now() - worker.LOST
    beats = WorkerHeartbeat.objects.values_list("queues").annotate(
        latest=Max("seen_at"), alive=Count("pk", filter=Q(seen_at__gte=fresh))
    )
    rows = [(queues.split(","), latest, count) for queues, latest, count in beats]
    for queue in _queues():
        alive.add_metric((queue,), sum(count for queues, _, count in rows if queue in queues))
        times = [latest.timestamp() for queues, latest, _ in rows if queue in queues]
        if times:
            seen.add_metric((queue,), max(times))
    return [alive, seen]
