"""POST /predict/: as the first front/back service was called; its callers need not change."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpResponse
from ninja import Query, Router

from classifier.access import Scope
from classifier.api import answers, catalogue, classifying, openapi, schemas
from classifier.api.callers import Bearer, Request
from classifier.api.classifying import Asked
from classifier.api.problems import Problem
from classifier.models import Prediction

router = Router(tags=["front/back"])

_EXTRA = openapi.operation(
    *openapi.ASKED,
    *openapi.BODY,
    *openapi.FORM,
    *openapi.SERVING,
    *openapi.MODEL,
    *openapi.PICTURE,
    *openapi.URL,
    *openapi.VERSION,
    anonymous=True,
    key=True,
    body=openapi.ONE_PICTURE,
)


@router.post(
    "predict",
    auth=Bearer(Scope.PREDICT, anonymous=True),
    response={200: schemas.FrontBack},
    include_in_schema=False,
    operation_id="predict_without_slash",
)
@router.post(
    "predict/",
    auth=Bearer(Scope.PREDICT, anonymous=True),
    response={200: schemas.FrontBack},
    by_alias=True,
    operation_id="predict",
    summary="Classify as the first front/back service did",
    openapi_extra=_EXTRA,
)
def predict(request: Request, asked: Query[Asked]) -> HttpResponse:
    """Answer `{"class", "confidence"}` and more; the confidence is that of the class named.

    The model that PREDICT_MODEL names answers, or the default model where none is registered under
    that name: `model` says who did.
    """
    asked.model = asked.model or _usual_model()
    return classifying.one(request, asked, lambda row: _answer(row, asked))


def _usual_model() -> str:
    try:
        return catalogue.model(settings.PREDICT_MODEL).name
    except Problem:
        return catalogue.model(None).name


def _answer(row: Prediction, asked: Asked) -> HttpResponse:
    full = answers.answered(row, top=asked.top, mine=False)
    same = ("confidence", "name", "level", "level_precision", "not_sure", "model", "version", "id")
    probabilities = {each["label"]: each["probability"] for each in full["probabilities"]}
    return answers.respond(
        {"class": full["label"]}
        | {name: full[name] for name in same}
        | {"probabilities": probabilities}
    )
