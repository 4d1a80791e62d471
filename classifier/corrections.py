"""The use case: a person says what a picture shows, and the prediction keeps standing beside it.

Corrections become training pictures: `labelled_uploads` gives what counts, `picture` its bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from uuid import UUID

from classifier import storage
from classifier.models import Correction, Prediction, RegisteredModel, Upload

if TYPE_CHECKING:
    from django.contrib.auth.models import User

NONE_OF_THESE = ""


class CorrectionRefused(Exception):
    """A correction was not taken: `code` says why, `str()` is a sentence for a person.

    Codes: not_allowed, unknown_label.
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

    The owner of the picture may, and staff. The latest correction counts; none is ever changed.
    Raises CorrectionRefused.
    """
    if not may_correct(prediction, by=by, visitor=visitor):
        sentence = "Only who sent the picture, or staff, may correct what was said about it."
        raise CorrectionRefused("not_allowed", sentence)
    model = prediction.version.model
    if label != NONE_OF_THESE and not model.labels.filter(key=label).exists():
        known = ", ".join(model.labels.values_list("key", flat=True))
        sentence = f"Expected a label of {model} ({known}). Received: {label!r:.200}"
        raise CorrectionRefused("unknown_label", sentence)
    return Correction.objects.create(
        prediction=prediction, label=label, by=by, visitor=None if by else visitor
    )


def may_correct(prediction: Prediction, *, by: User | None, visitor: UUID | None = None) -> bool:
    """Whether this person sent the picture, with an account or as a visitor, or is staff."""
    upload = prediction.upload
    if by is not None:
        return by.is_active and (by.is_staff or upload.owner_id == by.pk)
    return visitor is not None and upload.visitor == visitor


def labelled_uploads(model: RegisteredModel) -> Iterator[Correction]:
    """Yield the correction that counts of each upload which this model has seen, oldest first.

    An upload may have several predictions (versions, re-runs): the latest correction of any of
    them counts. "None of these" counts too, and is yielded.
    """
    latest: dict[UUID, Correction] = {}
    corrections = Correction.objects.about(model).select_related("prediction__upload")
    for correction in corrections.iterator(chunk_size=2_000):
        latest[correction.prediction.upload_id] = correction
    yield from sorted(latest.values(), key=lambda correction: correction.pk)


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
