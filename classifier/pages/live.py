"""The live camera: frames come one by one, are answered and forgotten.

No frame is stored or recorded, and most cost no query: the model and its names are remembered for
a moment. What is to be kept is sent to the front page like any picture.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from classifier import classification
from classifier.api import catalogue
from classifier.models import Prediction
from classifier.pages import asking
from classifier.pages.answers import Answer, Teacher
from classifier.pages.classifying import FAILURES, status_of
from classifier.pages.request import Request

# So many classes are told of each frame.
TOP = 5
# The page's own camera and nothing else (W3C Permissions Policy).
PERMISSIONS = "camera=(self), microphone=(), geolocation=()"


@never_cache
@require_safe
def live(request: Request) -> HttpResponse:
    """The page with the camera."""
    teacher = Teacher.now(asking.wanted_model(request))
    response = render(request, "pages/live.html", {"teacher": teacher})
    response["Permissions-Policy"] = PERMISSIONS
    return response


@never_cache
@require_POST
def frame(request: HttpRequest) -> HttpResponse:
    """Answer one frame, a picture of at most a megabyte as the body, in JSON."""
    try:
        content = request.body
    except RequestDataTooBig:
        most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        return _json({"problem": f"A frame may have {most:,} bytes. Send it smaller."}, 413)
    except UnreadablePostError:
        return _json({"problem": "The frame did not arrive whole."}, 400)
    try:
        return _json(_answered(content, request.GET.get("model") or None))
    except FAILURES as error:
        return _json({"problem": str(error)}, status_of(error))


def _answered(content: bytes, name: str | None) -> Mapping[str, Any]:
    model = catalogue.model(name)
    made = classification.classify(
        content, filename="", owner=None, visitor=None, model=model, store=False
    )
    catalogue.check(model, made.version_id)
    return _told(made, Answer(made, catalogue.names(made.version.model_id)))


def _told(made: Prediction, answer: Answer) -> Mapping[str, Any]:
    return {
        "key": made.label,
        "label": answer.label,
        "confidence": made.confidence,
        "percent": answer.percent,
        "level": "unsure" if answer.is_not_sure else made.level,
        "words": "Not sure" if answer.is_not_sure else answer.level_words,
        "bars": [
            {"name": bar.name, "probability": bar.probability, "percent": bar.percent}
            for bar in answer.bars[:TOP]
        ],
        "version": str(made.version),
        "inference_ms": round(made.inference_ms, 2),
        "total_ms": round(made.total_ms, 2),
    }


def _json(content: Mapping[str, Any], status: int = 200) -> HttpResponse:
    return HttpResponse(json.dumps(content), content_type="application/json", status=status)
