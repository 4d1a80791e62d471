"""The use cases of a selection: several predictions that somebody chose are corrected or deleted.

What is asked for by id is looked up among what the person may see. Each one is then judged by
itself: whoever sees all pictures may not change all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef

from classifier import classification, corrections
from classifier.models import Correction, Prediction, PredictionQuerySet

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# A page of the history has far fewer; a program has the API.
MOST = 200


class SelectionRefused(Exception):
    """Nothing was done with a selection; `str()` is a sentence for a person."""


@dataclass(frozen=True)
class Outcome:
    """What was done, and why the rest was not: no sentence twice. `made`: the new corrections."""

    done: tuple[Prediction, ...]
    refusals: tuple[str, ...] = ()
    refused: int = 0
    made: tuple[UUID, ...] = ()


def chosen(visible: PredictionQuerySet, ids: Iterable[str]) -> list[Prediction]:
    """Return what the ids name of what the person may see, the newest first.

    Raises SelectionRefused for no ids, too many, none that is one, or none that is there.
    """
    wanted = _parsed(ids)
    rows = visible.filter(pk__in=wanted).for_display().defer("probabilities", "version__manifest")
    found = list(rows.order_by("-id"))
    if not found:
        raise SelectionRefused("What you chose is not there any more: nothing was changed.")
    return found


def correct(
    predictions: Sequence[Prediction],
    *,
    label: str | None,
    by: User | None,
    visitor: UUID | None = None,
) -> Outcome:
    """Say of each what it shows: a label's key, NONE_OF_THESE, or None to confirm what was said.

    All of that is written at once. What is refused (not theirs to correct, a label that its model
    does not have) is left as it was.
    """
    done, refusals, made = [], [], []
    with transaction.atomic():
        for prediction in predictions:
            said = prediction.label if label is None else label
            try:
                correction = corrections.correct(prediction, label=said, by=by, visitor=visitor)
            except corrections.CorrectionRefused as refusal:
                refusals.append(_sentence(refusal, prediction))
            else:
                done.append(prediction)
                made.append(correction.pk)
    return Outcome(tuple(done), tuple(dict.fromkeys(refusals)), len(refusals), tuple(made))


def take_back(
    visible: PredictionQuerySet,
    ids: Iterable[str],
    *,
    by: User | None,
    visitor: UUID | None = None,
) -> int:
    """Withdraw corrections, all or none; return how many. Raises SelectionRefused."""
    seen = Exists(visible.filter(pk=OuterRef("prediction_id")))
    rows = Correction.objects.filter(seen, pk__in=_parsed(ids))
    found = list(rows.select_related("prediction__upload").order_by("-prediction_id"))
    if not found:
        raise SelectionRefused("There is nothing of yours to take back: nothing was changed.")
    try:
        with transaction.atomic():
            for correction in found:
                corrections.withdraw(correction, by=by, visitor=visitor)
    except corrections.CorrectionRefused as refusal:
        raise SelectionRefused(str(refusal)) from refusal
    return len(found)


def delete(
    predictions: Sequence[Prediction], *, by: User | None, visitor: UUID | None = None
) -> Outcome:
    """Delete those that this person may delete, with their pictures, all of them or none."""
    mine = [row for row in predictions if may_delete(row, by=by, visitor=visitor)]
    with transaction.atomic():
        for prediction in mine:
            classification.delete(prediction)
    refused = len(predictions) - len(mine)
    sentence = "Only who sent a picture may delete it, or staff with the permission to."
    return Outcome(tuple(mine), (sentence,) if refused else (), refused)


def may_delete(prediction: Prediction, *, by: User | None, visitor: UUID | None = None) -> bool:
    """Whether this person sent the picture, or is staff who may delete everybody's."""
    if by is None:
        return visitor is not None and prediction.visitor == visitor
    if not by.is_active:
        return False
    is_theirs = prediction.owner_id == by.pk
    return is_theirs or (by.is_staff and by.has_perm("classifier.delete_prediction"))


def _parsed(ids: Iterable[str]) -> set[UUID]:
    wanted = set()
    for text in ids:
        try:
            wanted.add(UUID(text))
        except ValueError as error:
            raise SelectionRefused("The selection did not arrive whole: choose again.") from error
    if not wanted:
        raise SelectionRefused("Nothing is selected: tick the pictures first.")
    if len(wanted) > MOST:
        raise SelectionRefused(f"Select at most {MOST} at once. Received: {len(wanted)}")
    return wanted


def _sentence(refusal: corrections.CorrectionRefused, prediction: Prediction) -> str:
    if refusal.code == "unknown_label":
        return f"{prediction.version.model} does not have that label."
    return str(refusal)
