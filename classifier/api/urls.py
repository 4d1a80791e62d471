"""The API put together, and its addresses."""

from __future__ import annotations

import logging
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, path, re_path
from ninja import NinjaAPI

from classifier.api import docs, front_back, predictions, problems, registered
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
api.add_router("api/v1/", registered.router)
api.add_router("", front_back.router)


@api.exception_handler(Exception)
def answer_error(request: HttpRequest, error: Any) -> HttpResponse:
    """Answer with the problem that an exception is; what is a bug goes on to Django's log."""
    problem = problems.of(error)
    if problem is None:
        raise error
    return problems.answer(request, problem)


def unknown(request: HttpRequest) -> HttpResponse:
    """Answer for every address below that there is none such."""
    return problems.answer(request, Problem("not_found"))


urlpatterns: list[URLPattern | URLResolver] = [
    path("api/v1/openapi.json", docs.document, {"api": api}, name="openapi"),
    path("api/v1/docs", docs.page, {"api": api}, name="api-docs"),
    path("", api.urls),
    re_path(r"^(?:api(?:/.*)?|predict/.+)\Z", unknown),
]
