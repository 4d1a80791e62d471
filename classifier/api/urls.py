"""The API put together, and its addresses."""

from __future__ import annotations

import logging
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import (
    Resolver404,
    URLPattern,
    URLResolver,
    get_script_prefix,
    path,
    re_path,
    resolve,
)
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError

from classifier.api import docs, front_back, labels, predictions, problems, registered
from classifier.api.problems import Problem

logger = logging.getLogger(__name__)

VERSION = "1.0.0"
DESCRIPTION = (
    "Classify pictures with the models of this installation. Who calls says so with a token: "
    "`Authorization: Bearer cm_…`. Errors are problem details (RFC 9457) with a stable `code`. "
    "Guide: docs/how-to/api.md."
)

# Not ninja's own pages: theirs come from a delivery network, or bring megabytes of scripts.
api = NinjaAPI(
    title="ClassifyMe",
    version=VERSION,
    description=DESCRIPTION,
    openapi_url=None,
    docs_url=None,
    urls_namespace="api",
)
api.add_router("api/v1/", predictions.router)
api.add_router("api/v1/", labels.router)
api.add_router("api/v1/", registered.router)
api.add_router("", front_back.router)


# Ninja has handlers of its own for the narrower ones, which would know nothing of problems.
@api.exception_handler(ValidationError)
@api.exception_handler(HttpError)
@api.exception_handler(Http404)
@api.exception_handler(Exception)
def answer_error(request: HttpRequest, error: Any) -> HttpResponse:
    """Answer with the problem that an exception is; what is a bug goes on to Django's log."""
    problem = problems.of(error)
    if problem is None:
        raise error
    return problems.answer(request, problem)


@csrf_exempt
def unknown(request: HttpRequest) -> HttpResponse:
    """Answer for every address below that there is none such, and which may be meant."""
    # To who counts and logs it, it is an address that matches nothing.
    request.resolver_match = None
    meant = _meant(request.path_info)
    sentence = f"There is nothing at this address. Is {meant} meant?" if meant else ""
    return problems.answer(request, Problem("not_found", sentence))


def _meant(wrong: str) -> str:
    """Return the address without what is too much of it, "" if that is none either."""
    bare = wrong.rstrip("/")
    if bare.rpartition("/")[2] == "predict":
        bare = "/predict/"
    try:
        found = resolve(bare)
    except Resolver404:
        return ""
    return "" if found.func is unknown else get_script_prefix().rstrip("/") + bare


# Neither reads a cookie or changes anything: a POST to them shall hear of the method.
_document, _page = csrf_exempt(docs.document), csrf_exempt(docs.page)

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/v1/openapi.json", _document, {"api": api}, name="openapi"),
    path("api/v1/docs", _page, {"api": api}, name="api-docs"),
    path("", api.urls),
    re_path(r"^(?:api(?:/.*)?|predict/.+)\Z", unknown),
]
