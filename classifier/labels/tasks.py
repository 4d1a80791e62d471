"""What the worker does of it in the queue `default`. Each may run twice without harm."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.tasks import task
from django.utils import timezone

from classifier.labels import taking, writing
from classifier.models import WorkerHeartbeat

QUEUE = "default"
# As `worker.LOST`, without all that a worker imports.
LOST = timedelta(seconds=30)


def worker_is_alive() -> bool:
    """Whether somebody runs what is enqueued here."""
    alive = WorkerHeartbeat.objects.filter(seen_at__gte=timezone.now() - LOST)
    return any(QUEUE in queues.split(",") for queues in alive.values_list("queues", flat=True))


@task(queue_name=QUEUE)
def write_export(export_id: str) -> str:
    """Write the file of an export; return what became of it, in words."""
    return writing.write(UUID(export_id))


@task(queue_name=QUEUE)
def go_on_with_import(import_id: str) -> str:
    """Look through the file of an import, or take its labels over; return what became of it."""
    return taking.go_on(UUID(import_id))
