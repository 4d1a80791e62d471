"""Why: the map of an explanation as a picture to lay over the other, and the panel around it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils.cache import get_conditional_response
from django.views.decorators.http import require_safe

from classifier import explanations, imaging, serving, storage, visitors
from classifier.explanations import Refusal, Unexplained
from classifier.models import Prediction
from classifier.pages import pictures
from classifier.pages.answers import Answer, Bar
from classifier.pages.request import Request

STATUS_OF_REFUSAL: Mapping[Refusal, int] = {
    Refusal.UNKNOWN_LABEL: 400,
    Refusal.NOT_EXPLAINABLE: 409,
    Refusal.VERSION_ARCHIVED: 409,
    Refusal.PICTURE_GONE: 410,
}
# Raised when the same explanation is drawn in another way: browsers keep what they have else.
DRAWING = 1
# What the answer says of the map, for the words beside it: whether anything spoke for the label.
EMPTY = "X-Explanation"


@require_safe
def why(request: Request, prediction_id: UUID) -> HttpResponseBase:
    """The map of `?label=KEY` as a transparent PNG, of the predicted label without."""
    visible = Prediction.objects.visible_to(request.user, visitors.of(request))
    found = get_object_or_404(visible.for_display(), pk=prediction_id)
    try:
        return _answer(request, found, request.GET.get("label") or found.label)
    except Unexplained as refusal:
        return _plain(str(refusal), STATUS_OF_REFUSAL[refusal.code])
    except (serving.NoActiveVersion, storage.StorageUnavailable, imaging.Busy) as error:
        return _plain(str(error), 503)


def _answer(request: Request, prediction: Prediction, label: str) -> HttpResponse:
    explanations.check(prediction, label)
    etag = _etag(prediction, label)
    unchanged = get_conditional_response(request, etag=etag)
    return pictures.guarded(unchanged or _drawn(prediction, label), etag)


def _drawn(prediction: Prediction, label: str) -> HttpResponse:
    explanation = explanations.explain(prediction, label)
    response = HttpResponse(explanation.draw(), content_type="image/png")
    response[EMPTY] = "nothing" if explanation.is_empty else "something"
    return response


def _etag(prediction: Prediction, label: str) -> str:
    parts = (prediction.version.bundle_digest, prediction.upload.stored_sha256, label, str(DRAWING))
    return f'"{hashlib.sha256("/".join(parts).encode()).hexdigest()[:32]}"'


def _plain(sentence: str, status: int) -> HttpResponse:
    response = HttpResponse(sentence, content_type="text/plain; charset=utf-8", status=status)
    response["Cache-Control"] = "private, no-store"
    return response


@dataclass(frozen=True)
class Panel:
    """What the panel asks and shows: the labels to choose from, the one chosen."""

    choices: tuple[tuple[str, Bar], ...]
    chosen: str
    name: str
    is_open: bool

    @classmethod
    def of(cls, answer: Answer, query: Mapping[str, str]) -> Panel:
        """Return the panel of an answer; `why=KEY` in the address opens it at a label."""
        pairs = [
            (key, Bar(answer.names.get(key, key), probability))
            for key, probability in answer.prediction.ranked()
        ]
        names = {key: bar.name for key, bar in pairs}
        asked = query.get("why", "")
        chosen = asked if asked in names else answer.prediction.label
        return cls(tuple(pairs), chosen, names.get(chosen, chosen), asked in names)
