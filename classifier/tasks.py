"""What the background worker does in the queue `default`, and what puts it there.

Every task is enqueued in the transaction of what it is about: its row is in the same database, so
both are there after the commit or neither is.
"""

import logging
from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.tasks import task
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from classifier import carrying, storage
from classifier.models import Upload

logger = logging.getLogger(__name__)

DELETE_ATTEMPTS = 12
# A task may be enqueued a moment after its row is seen; the sweep leaves the young alone.
SWEEP_MIN_AGE = timedelta(minutes=1)
SWEEP_BATCH = 500


@task(queue_name="default")
def carry_to_cloud(upload_id: str) -> str:
    """Carry an upload's picture to the cloud; return what became of it, in words."""
    carried = carrying.carry(UUID(upload_id), delete_from_cloud=delete_from_cloud.enqueue)
    if carried.again_at is not None:
        carry_to_cloud.using(run_after=carried.again_at).enqueue(upload_id)
    return str(carried.outcome)


@task(queue_name="default")
def delete_from_cloud(key: str, attempt: int = 1) -> str:
    """Delete a picture from the cloud, whose upload is gone; one that is not there is fine.

    Raises CloudRefused, or CloudUnavailable from the last attempt, so that the task stands as
    failed with its reason.
    """
    try:
        storage.cloud().delete(key)
    except storage.CloudRefused:
        raise
    except storage.StorageUnavailable as exc:
        if attempt >= DELETE_ATTEMPTS:
            raise
        logger.warning("The picture %s is not deleted from the cloud yet: %s", key, exc)
        again_at = timezone.now() + carrying.wait_after(attempt)
        delete_from_cloud.using(run_after=again_at).enqueue(key, attempt + 1)
        return "try again"
    return "deleted"


def enqueue_forgotten() -> int:
    """Enqueue the waiting uploads that have no task (any more); return how many."""
    if not storage.cloud_is_configured():
        return 0
    waiting = carrying.waiting_without_carrier().filter(
        created_at__lt=timezone.now() - SWEEP_MIN_AGE
    )
    ids = [str(id) for id in waiting.order_by("id").values_list("id", flat=True)[:SWEEP_BATCH]]
    forgotten = set(ids) - _enqueued(ids)
    for upload_id in sorted(forgotten):
        carry_to_cloud.enqueue(upload_id)
    return len(forgotten)


def carry_again(uploads: Iterable[Upload]) -> int:
    """Start over with uploads that were given up, as an admin asks to; return how many."""
    ids = [upload.id for upload in uploads]
    with transaction.atomic():
        again = list(
            carrying.given_up().select_for_update().filter(id__in=ids).values_list("id", flat=True)
        )
        Upload.objects.filter(id__in=again).update(storage_attempts=0, storage_error="")
        for upload_id in again:
            carry_to_cloud.enqueue(str(upload_id))
    return len(again)


def _enqueued(upload_ids: list[str]) -> set[str]:
    """Return those of the ids for which a carrying is ready or running."""
    unfinished = DBTaskResult.objects.filter(
        task_path=carry_to_cloud.module_path,
        status__in=("READY", "RUNNING"),
        args_kwargs__args__0__in=upload_ids,
    )
    return {row["args"][0] for row in unfinished.values_list("args_kwargs", flat=True)}
