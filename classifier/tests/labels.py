"""Labels that stand in the tables before a test begins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from uuid import UUID

from django.contrib.auth.models import Permission, User

from classifier import corrections
from classifier.models import ModelVersion, Prediction, Upload

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Person


def make_many(
    version: ModelVersion,
    count: int,
    *,
    owner: Person | None = None,
    visitor: UUID | None = None,
    uploads: int | None = None,
) -> list[UUID]:
    """Record predictions without pictures, by a few statements; return their ids, oldest first.

    Each has an upload of its own unless `uploads` says how many there are.
    """
    made = Upload.objects.bulk_create(
        (
            Upload(
                owner=owner,
                visitor=visitor,
                filename=f"{at}.png",
                media_type="image/png",
                bytes=1,
                width=1,
                height=1,
                original_sha256=f"{at:064x}",
                stored_sha256=f"{at:064x}",
                storage_key=f"uploads/none/{at}.png",
            )
            for at in range(uploads or count)
        ),
        batch_size=1_000,
    )
    rows = [
        Prediction(
            upload=made[at % len(made)],
            version=version,
            label="red",
            confidence=0.75,
            probabilities=[0.75, 0.2, 0.05],
            level="medium",
            inference_ms=1.0,
            total_ms=2.0,
        )
        for at in range(count)
    ]
    for row in rows:
        row.derive()
    Prediction.objects.bulk_create(rows, batch_size=1_000)
    return [row.pk for row in rows]


def say(predictions: Iterable[Prediction | UUID], label: str, by: Person | None = None) -> None:
    """Correct predictions, whoever may."""
    keys = [each.pk if isinstance(each, Prediction) else each for each in predictions]
    corrections.record_many(dict.fromkeys(keys, label), by=by)


def staff(name: str, *permissions: str) -> Person:
    """Make a member of the staff with these permissions of `classifier`."""
    person = User.objects.create_user(name, is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return person
