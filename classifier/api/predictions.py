"""Predictions: made from pictures, listed, read, corrected, deleted."""

from __future__ import annotations

import base64
import binascii
from typing import Any
from uuid import UUID

from django.db import transaction
from django.http import HttpResponse
from ninja import Field, Query, Router, Schema

from classifier import classification, corrections, explanations
from classifier.access import Scope
from classifier.api import (
    answers,
    catalogue,
    classifying,
    idempotency,
    intake,
    limits,
    openapi,
    schemas,
)
from classifier.api.callers import Bearer, Caller, Request
from classifier.api.classifying import MOST_TOP, TOP, Asked
from classifier.api.idempotency import Settle
from classifier.api.problems import Problem
from classifier.models import ModelVersion, Prediction, PredictionQuerySet

router = Router(tags=["predictions"])

PAGE_SIZE = 50
LARGEST_PAGE = 100

_CLASSIFIES = (
    *openapi.ASKED,
    *openapi.BODY,
    *openapi.FORM,
    *openapi.SERVING,
    *openapi.MODEL,
    *openapi.VERSION,
)


@router.post(
    "predictions",
    auth=Bearer(Scope.PREDICT, anonymous=True),
    response={201: schemas.Prediction, 200: schemas.Prediction},
    operation_id="classify",
    summary="Classify a picture",
    openapi_extra=openapi.operation(
        *_CLASSIFIES,
        *openapi.PICTURE,
        *openapi.URL,
        anonymous=True,
        key=True,
        body=openapi.ONE_PICTURE,
        headers={201: {"Location": "The prediction, where the caller may read it."}},
    ),
)
def classify(request: Request, asked: Query[Asked]) -> HttpResponse:
    """Send the picture as the file `image` of a form, or say where it is with `{"url": ...}`.

    201 where the prediction was recorded, 200 where it was not (`store=false`).
    """
    return classifying.one(request, asked, classifying.created(request.auth, asked))


@router.post(
    "predictions/batch",
    auth=Bearer(Scope.PREDICT, anonymous=True),
    response={200: schemas.Batch},
    operation_id="classify_batch",
    summary="Classify several pictures",
    openapi_extra=openapi.operation(
        *_CLASSIFIES,
        *("too_many_items", "url_busy"),
        anonymous=True,
        key=True,
        body=openapi.MANY_PICTURES,
    ),
)
def classify_batch(request: Request, asked: Query[Asked]) -> HttpResponse:
    """Send many files `images`, or `{"urls": [...]}`: one result each, in the order sent.

    What is wrong with a picture stands in its result and spoils no other.
    """
    pictures = intake.pictures(request)
    limits.charge(request, request.auth, len(pictures) - 1, taken=1)
    return classifying.many(request, asked, pictures)


class Listed(Schema):
    """The query of the list."""

    model: str | None = Field(None, max_length=64, description="Only of this registered model.")
    version: int | None = Field(
        None,
        ge=1,
        le=catalogue.LARGEST_NUMBER,
        description="Only of its version of this number; without `model`, of the default model.",
    )
    label: str | None = Field(None, max_length=100, description="Only with this label (its key).")
    level: schemas.LevelName | None = Field(None, description="Only of this confidence level.")
    corrected: bool | None = Field(
        None, description="Only those that somebody corrected or confirmed; false: only others."
    )
    cursor: str | None = Field(None, max_length=100, description="`next_cursor` of a page.")
    limit: int = Field(PAGE_SIZE, ge=1, le=LARGEST_PAGE, description="So many on a page.")
    top: int = Field(
        0, ge=0, le=MOST_TOP, description="How many probabilities to tell, the highest first."
    )

    def choose(self, rows: PredictionQuerySet) -> PredictionQuerySet:
        """Return those of the rows that are asked for. Raises Problem."""
        if self.model or self.version:
            rows = rows.filter(version__in=self._versions())
        if self.label:
            rows = rows.filter(label=intake.check_text(self.label, "query.label"))
        if self.level:
            rows = rows.filter(level=self.level)
        if self.corrected is not None:
            rows = rows.filter(corrected_label__isnull=not self.corrected)
        return rows.filter(id__lt=_key(self.cursor)) if self.cursor else rows

    def _versions(self) -> list[UUID]:
        model = catalogue.model(self.model)
        if self.version:
            return [catalogue.numbered(model, self.version).pk]
        return list(ModelVersion.objects.filter(model=model).values_list("pk", flat=True))


@router.get(
    "predictions",
    auth=Bearer(Scope.READ),
    response={200: schemas.PredictionPage},
    operation_id="list_predictions",
    summary="List predictions",
    openapi_extra=openapi.operation(
        *openapi.ASKED, *openapi.MODEL, "bad_cursor", "no_active_version"
    ),
)
def list_predictions(request: Request, listed: Query[Listed]) -> HttpResponse:
    """List the person's own predictions, newest first; with the scope admin everybody's."""
    rows = listed.choose(_visible(request.auth).with_correction().select_related("upload"))
    if not listed.top:
        rows = rows.defer("probabilities")
    found = list(rows.order_by("-id")[: listed.limit + 1])
    shown, more = found[: listed.limit], len(found) > listed.limit
    cursor = _cursor(shown[-1].pk) if more else None
    return answers.respond(
        {
            "predictions": _told(shown, listed.top),
            "next_cursor": cursor,
            "next": _next(request, cursor) if cursor else None,
        }
    )


class Shown(Schema):
    """The query of one prediction."""

    top: int = Field(
        TOP, ge=0, le=MOST_TOP, description="How many probabilities to tell, the highest first."
    )


@router.get(
    "predictions/{uuid:prediction_id}",
    auth=Bearer(Scope.READ),
    response={200: schemas.Prediction},
    operation_id="get_prediction",
    summary="Read a prediction",
    openapi_extra=openapi.operation(*openapi.ASKED, "prediction_not_found"),
)
def get_prediction(request: Request, prediction_id: UUID, shown: Query[Shown]) -> HttpResponse:
    """Read one of the person's own predictions; with the scope admin anybody's."""
    visible = _visible(request.auth).with_correction().select_related("upload")
    return answers.respond(_told([_found(visible, prediction_id)], shown.top)[0])


class Explained(Schema):
    """The query of an explanation."""

    label: str | None = Field(
        None, max_length=100, description="The label's key; without it the predicted one."
    )


@router.get(
    "predictions/{uuid:prediction_id}/explanation",
    auth=Bearer(Scope.READ),
    response={200: schemas.Explanation},
    operation_id="explain_prediction",
    summary="Say why",
    openapi_extra=openapi.operation(
        *openapi.ASKED,
        *("prediction_not_found", "unknown_label", "not_explainable", "version_archived"),
        *("picture_gone", "out_of_memory", "no_active_version", "storage_unavailable"),
    ),
)
def explain_prediction(
    request: Request, prediction_id: UUID, explained: Query[Explained]
) -> HttpResponse:
    """Show which places of the picture spoke for a label, by Grad-CAM, as a map of numbers."""
    row = _found(_visible(request.auth).for_display(), prediction_id)
    label = row.label
    if explained.label is not None:
        label = intake.check_text(explained.label, "query.label")
    names = catalogue.names(row.version.model_id)
    return answers.respond(answers.explanation(row, explanations.explain(row, label), names))


@router.delete(
    "predictions/{uuid:prediction_id}",
    auth=Bearer(Scope.PREDICT),
    response={204: None},
    operation_id="delete_prediction",
    summary="Delete a prediction",
    openapi_extra=openapi.operation("prediction_not_found"),
)
def delete_prediction(request: Request, prediction_id: UUID) -> HttpResponse:
    """Delete a prediction and, unless other predictions are about it, its picture; for good."""
    classification.delete(_found(_visible(request.auth), prediction_id))
    return _nothing()


@router.post(
    "predictions/{uuid:prediction_id}/correction",
    auth=Bearer(Scope.PREDICT),
    response={201: schemas.CorrectionOut},
    operation_id="correct_prediction",
    summary="Say what the picture shows",
    openapi_extra=openapi.operation(
        *openapi.ASKED,
        *openapi.BODY,
        *("prediction_not_found", "unknown_label", "not_allowed"),
        key=True,
        body=openapi.CORRECTION,
    ),
)
def correct_prediction(request: Request, prediction_id: UUID) -> HttpResponse:
    """Say which label is right: the predicted one confirms it, null means none of the labels.

    The prediction itself never changes; the latest correction counts that nobody took back.
    """
    label = intake.correction(request)
    rows = _visible(request.auth).for_display().defer("probabilities", "version__manifest")
    found = _found(rows, prediction_id)
    return idempotency.once(
        request,
        request.auth,
        lambda: [repr(label)],
        lambda settle: _correct(request.auth, found, label, settle),
    )


@router.delete(
    "predictions/{uuid:prediction_id}/correction",
    auth=Bearer(Scope.PREDICT),
    response={204: None},
    operation_id="withdraw_correction",
    summary="Take back what one said of the picture",
    openapi_extra=openapi.operation("prediction_not_found", "correction_not_found", "not_allowed"),
)
def withdraw_correction(request: Request, prediction_id: UUID) -> HttpResponse:
    """Take back all that the person said of the picture, as if they had never spoken.

    What others said before counts again; without that the prediction is one nobody looked at.
    """
    rows = _visible(request.auth).for_display().defer("probabilities", "version__manifest")
    corrections.withdraw_own(_found(rows, prediction_id), by=request.auth.person)
    return _nothing()


def _nothing() -> HttpResponse:
    response = HttpResponse(status=204)
    del response.headers["Content-Type"]  # of nothing
    return response


def _correct(
    caller: Caller, row: Prediction, label: str | None, settle: Settle | None
) -> HttpResponse:
    chosen = corrections.NONE_OF_THESE if label is None else label
    with transaction.atomic():
        made = corrections.correct(row, label=chosen, by=caller.person)
        answer = answers.respond(
            {
                "id": str(made.pk),
                "prediction": str(row.pk),
                "label": made.label or None,
                "confirms": made.confirms,
                "created_at": answers.moment(made.created_at),
            },
            status=201,
        )
        if settle:
            settle(answer)
    return answer


def _visible(caller: Caller) -> PredictionQuerySet:
    """Return what the caller may see: the person's own, with the scope admin everybody's."""
    everybodys = Prediction.objects.all()
    if caller.sees_all:
        return everybodys
    return everybodys.owned_by(caller.person) if caller.person else everybodys.none()


def _found(rows: PredictionQuerySet, prediction_id: UUID) -> Prediction:
    """Return the row; what the caller may not see is not there."""
    found = rows.filter(pk=prediction_id).first()
    if found is None:
        raise Problem("prediction_not_found")
    return found


def _told(rows: list[Prediction], top: int) -> list[dict[str, Any]]:
    facts = catalogue.facts_by_id(row.version_id for row in rows)
    return [
        answers.prediction(
            row,
            facts[row.version_id],
            catalogue.names(facts[row.version_id].model_id),
            top=top,
            mine=True,
        )
        for row in rows
    ]


def _cursor(key: UUID) -> str:
    return base64.urlsafe_b64encode(key.bytes).decode().rstrip("=")


def _key(cursor: str) -> UUID:
    try:
        return UUID(bytes=base64.b64decode(f"{cursor}==", altchars=b"-_", validate=True))
    except (ValueError, binascii.Error) as error:
        raise Problem("bad_cursor") from error


def _next(request: Request, cursor: str) -> str:
    query = request.GET.copy()
    query["cursor"] = cursor
    return f"{answers.address('predictions')}?{query.urlencode()}"
