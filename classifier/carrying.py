"""Carrying a picture from the folder here to the cloud: once, whoever else tries, killed or not.

A carrier takes a lease on the upload's row by a conditional update, sends the picture, and moves
the row to *in the cloud* by another that holds only while the lease is still its own. The file here
goes after that is committed. Whatever is interrupted in between is simply done again: the same
name is written over in the cloud.
"""

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from django.core.files.base import ContentFile
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from classifier import storage
from classifier.models import StorageState, Upload, UploadQuerySet

logger = logging.getLogger(__name__)

# Longer than an upload over a slow line takes; two carriers at once would do no harm, only work.
LEASE = timedelta(minutes=10)
# With the waits below: about eight and a half hours of trying.
MAX_ATTEMPTS = 12
FIRST_WAIT = timedelta(seconds=15)
LONGEST_WAIT = timedelta(hours=6)


class Outcome(StrEnum):
    CARRIED = "carried"
    GONE = "gone"  # the upload was deleted
    NOT_WAITING = "not waiting"
    LEASED = "leased by another"
    NO_CLOUD = "no cloud is configured"
    TRY_AGAIN = "try again"
    GAVE_UP = "gave up"


@dataclass(frozen=True)
class Carried:
    """What became of one attempt; ``again_at`` says when the next is worth making, if any is."""

    outcome: Outcome
    again_at: datetime | None = None


def wait_after(attempt: int) -> timedelta:
    """Return how long to wait after the n-th failure (from 1): doubled, capped, half at random.

    "Equal jitter" of Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015:
    many pictures that failed together must not come back together.
    """
    doubled: timedelta = min(FIRST_WAIT * 2 ** min(attempt - 1, 20), LONGEST_WAIT)
    return doubled / 2 + doubled / 2 * (secrets.randbelow(1000) / 1000)


def carry(upload_id: UUID, *, delete_from_cloud: Callable[[str], object]) -> Carried:
    """Carry one upload's picture to the cloud, if it waits for that and nobody else does it.

    ``delete_from_cloud`` is called with the key of a picture whose upload was deleted while it
    was under way. No storage error leaves this function: it stands in the upload's row.
    """
    if not storage.cloud_is_configured():
        return Carried(Outcome.NO_CLOUD)
    lease = timezone.now() + LEASE
    if not _take_lease(upload_id, lease):
        return _not_taken(upload_id)
    upload = Upload.objects.filter(id=upload_id).first()
    if upload is None:
        return Carried(Outcome.GONE)
    try:
        _send(upload)
    except (storage.CloudRefused, storage.PictureMissing) as exc:
        return _give_up(upload, lease, str(exc))
    except storage.StorageUnavailable as exc:
        return _put_off(upload, lease, str(exc))
    return _settle(upload, lease, delete_from_cloud)


def waiting_without_carrier() -> UploadQuerySet:
    """Return the uploads that wait, are not given up, and that no living carrier holds."""
    return Upload.objects.waiting_for_cloud().filter(_unleased(), storage_attempts__lt=MAX_ATTEMPTS)


def given_up() -> UploadQuerySet:
    """Return the uploads that stay here until an admin asks for `tasks.carry_again`."""
    return Upload.objects.waiting_for_cloud().filter(
        _unleased(), storage_attempts__gte=MAX_ATTEMPTS
    )


def _unleased() -> Q:
    return Q(storage_lease_until=None) | Q(storage_lease_until__lte=timezone.now())


def _take_lease(upload_id: UUID, lease: datetime) -> bool:
    """Take the lease; False when another has it, or there is nothing to carry.

    The attempt is counted now: one that kills its worker counts too.
    """
    taken = (
        waiting_without_carrier()
        .filter(id=upload_id)
        .update(storage_lease_until=lease, storage_attempts=F("storage_attempts") + 1)
    )
    return taken == 1


def _not_taken(upload_id: UUID) -> Carried:
    upload = Upload.objects.filter(id=upload_id).first()
    if upload is None:
        return Carried(Outcome.GONE)
    if upload.storage_state == StorageState.CLOUD:
        # The carrier may have been killed after the commit, before it deleted the file.
        storage.discard(upload.storage_key)
        return Carried(Outcome.NOT_WAITING)
    if upload.storage_state != StorageState.WAITING:
        return Carried(Outcome.NOT_WAITING)
    if given_up().filter(id=upload_id).exists():
        return _say_why(upload)
    return Carried(Outcome.LEASED, again_at=upload.storage_lease_until)


def _send(upload: Upload) -> None:
    cloud = storage.cloud()
    try:
        content = storage.read_here(upload.storage_key)
    except storage.PictureMissing:
        # A database restored from a backup may say "waiting" of what was carried since.
        if cloud.exists(upload.storage_key):
            return
        raise
    cloud.save(upload.storage_key, ContentFile(content))


def _settle(upload: Upload, lease: datetime, delete_from_cloud: Callable[[str], object]) -> Carried:
    with transaction.atomic():
        settled = _held(upload, lease).update(
            storage_state=StorageState.CLOUD, storage_lease_until=None, storage_error=""
        )
        if settled:
            transaction.on_commit(lambda: storage.discard(upload.storage_key))
            return Carried(Outcome.CARRIED)
    if Upload.objects.filter(id=upload.id).exists():
        return Carried(Outcome.LEASED)
    delete_from_cloud(upload.storage_key)
    return Carried(Outcome.GONE)


def _put_off(upload: Upload, lease: datetime, reason: str) -> Carried:
    if upload.storage_attempts >= MAX_ATTEMPTS:
        return _give_up(upload, lease, f"Given up after {MAX_ATTEMPTS} attempts. {reason}")
    if not _held(upload, lease).update(storage_lease_until=None, storage_error=reason):
        return Carried(Outcome.LEASED)
    logger.warning("Upload %s stays here for now: %s", upload.id, reason)
    return Carried(Outcome.TRY_AGAIN, timezone.now() + wait_after(upload.storage_attempts))


def _give_up(upload: Upload, lease: datetime, reason: str) -> Carried:
    _held(upload, lease).update(
        storage_lease_until=None, storage_attempts=MAX_ATTEMPTS, storage_error=reason
    )
    logger.error("Upload %s stays here until somebody tries again: %s", upload.id, reason)
    return Carried(Outcome.GAVE_UP)


def _say_why(upload: Upload) -> Carried:
    """Say why an upload is given up whose last carrier was killed before it could."""
    given_up().filter(id=upload.id, storage_error="").update(
        storage_error=f"Given up after {MAX_ATTEMPTS} attempts: the last was broken off."
    )
    return Carried(Outcome.GAVE_UP)


def _held(upload: Upload, lease: datetime) -> UploadQuerySet:
    return Upload.objects.waiting_for_cloud().filter(id=upload.id, storage_lease_until=lease)
