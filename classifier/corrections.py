"""The use case: a person says what a picture shows, and the prediction keeps standing beside it.

A correction is never changed. Taking one back adds a withdrawal: then the one before it counts
again, and where there is none the prediction is as if nobody had looked at it. Corrections become
training pictures: `labelled_uploads` gives what counts, `picture` its bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import transaction

from classifier import storage
from classifier.models import (
    Correction,
    CorrectionQuerySet,
    Prediction,
    RegisteredModel,
    Upload,
    Withdrawal,
)

if TYPE_CHECKING:
    from django.contrib.auth.models import User

NONE_OF_THESE = ""
# Of a model with hundreds of labels a refusal names so many.
NAMED_LABELS = 30


class CorrectionRefused(Exception):
    """A correction was not taken: `code` says why, `str()` is a sentence for a person.

    Codes: not_allowed, unknown_label, prediction_not_found, correction_not_found.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class PicturesUnavailable(Exception):
    """The storage does not answer now; `str()` is a sentence for a person."""


def correct(
    prediction: Prediction, *, label: str, by: User | None, visitor: UUID | None = None
) -> Correction:
    """Record that the picture shows `label` (a key; NONE_OF_THESE for no label of the model).

    The owner of the picture may, and staff who review. The latest correction counts. Raises
    CorrectionRefused.
    """
    if not may_correct(prediction, by=by, visitor=visitor):
        sentence = "Only who sent the picture, or staff who review, may correct what was said."
        raise CorrectionRefused("not_allowed", sentence)
    check_label(prediction.version.model, label)
    with transaction.atomic():
        _lock(prediction)
        made = Correction.objects.create(
            prediction=prediction, label=label, by=by, visitor=None if by else visitor
        )
        _settle(prediction)
    return made


def withdraw(correction: Correction, *, by: User | None, visitor: UUID | None = None) -> Withdrawal:
    """Take a correction back: what was said before it counts again, or nothing.

    Who made it may, and staff who review. Once is enough: a second time changes nothing and
    returns the first withdrawal. Raises CorrectionRefused.
    """
    if not may_withdraw(correction, by=by, visitor=visitor):
        sentence = "Only who made a correction, or staff who review, may take it back."
        raise CorrectionRefused("not_allowed", sentence)
    with transaction.atomic():
        _lock(correction.prediction)
        made, _ = Withdrawal.objects.get_or_create(
            correction=correction, defaults={"by": by, "visitor": None if by else visitor}
        )
        _settle(correction.prediction)
    return made


def withdraw_own(
    prediction: Prediction, *, by: User | None, visitor: UUID | None = None
) -> list[Withdrawal]:
    """Take back all that this person said of the prediction, as if they had never spoken.

    Raises CorrectionRefused, also if there is nothing (correction_not_found).
    """
    with transaction.atomic():
        _lock(prediction)
        found = list(own(by=by, visitor=visitor).filter(prediction=prediction).order_by("-id"))
        if not found:
            sentence = "There is no correction of yours to take back."
            raise CorrectionRefused("correction_not_found", sentence)
        for correction in found:
            correction.prediction = prediction
        return [withdraw(correction, by=by, visitor=visitor) for correction in found]


def own(*, by: User | None, visitor: UUID | None) -> CorrectionQuerySet:
    """Return the corrections that this person made and did not take back."""
    standing = Correction.objects.standing()
    if by is not None:
        return standing.filter(by=by)
    return standing.none() if visitor is None else standing.filter(visitor=visitor)


def check_label(model: RegisteredModel, label: str) -> None:
    """Raise CorrectionRefused unless `label` is a key of the model's, or NONE_OF_THESE."""
    if label == NONE_OF_THESE or ("\0" not in label and model.labels.filter(key=label).exists()):
        return
    keys = list(model.labels.values_list("key", flat=True)[: NAMED_LABELS + 1])
    known = ", ".join(keys[:NAMED_LABELS]) + (", ..." if len(keys) > NAMED_LABELS else "")
    sentence = f"Expected a label of {model} ({known}). Received: {label!r:.200}"
    raise CorrectionRefused("unknown_label", sentence)


def may_review(person: User | None) -> bool:
    """Whether this person corrects everybody's: staff with the permission review_prediction."""
    return (
        person is not None and person.is_staff and person.has_perm("classifier.review_prediction")
    )


def may_correct(prediction: Prediction, *, by: User | None, visitor: UUID | None = None) -> bool:
    """Whether this person sent the picture, with an account or as a visitor, or reviews."""
    upload = prediction.upload
    if by is not None:
        return by.is_active and (upload.owner_id == by.pk or may_review(by))
    return visitor is not None and upload.visitor == visitor


def may_withdraw(correction: Correction, *, by: User | None, visitor: UUID | None = None) -> bool:
    """Whether this person made the correction and still may, or reviews."""
    if not may_correct(correction.prediction, by=by, visitor=visitor):
        return False
    if by is not None:
        return correction.by_id == by.pk or may_review(by)
    return correction.visitor == visitor


def labelled_uploads(model: RegisteredModel) -> Iterator[Correction]:
    """Yield the correction that counts of each upload which this model has seen, oldest first.

    An upload may have several predictions (versions, re-runs): the latest correction of any of
    them counts, of those that nobody took back. "None of these" counts too, and is yielded.
    """
    latest: dict[UUID, Correction] = {}
    corrections = Correction.objects.about(model).standing().select_related("prediction__upload")
    for correction in corrections.iterator(chunk_size=2_000):
        latest[correction.prediction.upload_id] = correction
    yield from sorted(latest.values(), key=lambda correction: correction.pk)


def newest_labelled(
    model: RegisteredModel, *, since: datetime | None = None
) -> Iterator[Correction]:
    """Yield what `labelled_uploads` does, the newest first and only as far as one asks.

    `since` ends it where people spoke before that time.
    """
    seen: set[UUID] = set()
    standing = Correction.objects.about(model).standing()
    rows = standing.order_by("-id").select_related("prediction__upload")
    for correction in rows.iterator(chunk_size=500):
        if since is not None and correction.created_at <= since:
            return
        if correction.prediction.upload_id not in seen:
            seen.add(correction.prediction.upload_id)
            yield correction


def picture(upload: Upload) -> bytes | None:
    """Return the stored picture's bytes wherever they are now; None if the picture is gone.

    Raises PicturesUnavailable.
    """
    try:
        with storage.open_upload(upload) as opened:
            return bytes(opened.read())
    except storage.PictureMissing:
        return None
    except (storage.StorageError, OSError) as exc:
        raise PicturesUnavailable(f"The picture of {upload} cannot be read: {exc}") from exc


def lock_many(predictions: Iterable[UUID]) -> dict[UUID, str | None]:
    """Let nobody else correct these until the transaction's end; return what counts of them now.

    None where nobody said anything; one that was deleted is not in it.
    """
    rows = Prediction.objects.select_for_update(no_key=True).filter(pk__in=list(predictions))
    return dict(rows.order_by("pk").values_list("pk", "corrected_label"))


def record_many(said: Mapping[UUID, str], *, by: User | None, visitor: UUID | None = None) -> None:
    """Record what locked predictions show: keys of their models' labels, or NONE_OF_THESE.

    For who was found to be allowed to, such as by the permission to import labels.
    """
    visitor = None if by else visitor
    Correction.objects.bulk_create(
        Correction(prediction_id=key, label=label, by=by, visitor=visitor)
        for key, label in said.items()
    )
    alike: dict[str, list[UUID]] = {}
    for key, label in said.items():
        alike.setdefault(label, []).append(key)
    for label, keys in alike.items():
        Prediction.objects.filter(pk__in=keys).update(corrected_label=label)


def _lock(prediction: Prediction) -> None:
    """Let nobody else correct it until the transaction's end. Raises CorrectionRefused."""
    rows = Prediction.objects.select_for_update(no_key=True).filter(pk=prediction.pk)
    if rows.values_list("pk", flat=True).first() is None:
        raise CorrectionRefused("prediction_not_found", "The picture was deleted meanwhile.")


def _settle(prediction: Prediction) -> None:
    """Write the label that counts now beside the prediction, which is locked."""
    counts = Correction.objects.standing().filter(prediction=prediction).order_by("-id")
    prediction.corrected_label = counts.values_list("label", flat=True).first()
    Prediction.objects.filter(pk=prediction.pk).update(corrected_label=prediction.corrected_label)
