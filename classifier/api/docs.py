"""The OpenAPI document as a file, and as a page for people: no script, nothing from elsewhere."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.cache import get_conditional_response
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.http import require_safe
from ninja import NinjaAPI

from classifier.api import openapi
from classifier.api.answers import JSON
from classifier.api.problems import KINDS

MAX_AGE_SECONDS = 300


@dataclass(frozen=True)
class Described:
    """An operation, as the page shows it."""

    id: str
    method: str
    path: str
    summary: str
    description: SafeString
    parameters: list[dict[str, Any]]
    bodies: list[str]
    statuses: list[str]


@require_safe
def document(request: HttpRequest, api: NinjaAPI) -> HttpResponseBase:
    """Answer with the OpenAPI document."""
    content = openapi.text(api).encode()
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": f"public, max-age={MAX_AGE_SECONDS}"}
    response = HttpResponse(content, content_type=JSON, headers=headers)
    return get_conditional_response(request, etag=etag, response=response) or response


@require_safe
def page(request: HttpRequest, api: NinjaAPI) -> HttpResponse:
    """Answer with the page that the type of every problem leads to."""
    context = {
        "anonymous": settings.API_ANONYMOUS,
        "operations": list(_described(openapi.document(api))),
        "problems": sorted(KINDS.items(), key=lambda item: item[1].status),
        "base": f"{request.scheme}://{request.get_host()}",
    }
    return render(request, "api/docs.html", context)


def _told(parameter: dict[str, Any]) -> dict[str, Any]:
    return parameter | {"description": _marked(parameter.get("description", ""))}


def _marked(text: str) -> SafeString:
    """Return the text for HTML, with what stands between backticks as code."""
    return mark_safe(re.sub("`([^`]*)`", r"<code>\1</code>", escape(text)))  # noqa: S308


def _described(content: dict[str, Any]) -> Iterator[Described]:
    for path, operations in content["paths"].items():
        for method, operation in operations.items():
            yield Described(
                id=operation["operationId"],
                method=method.upper(),
                path=path,
                summary=operation["summary"],
                description=_marked(operation.get("description", "")),
                parameters=[_told(each) for each in operation.get("parameters", [])],
                bodies=list(operation.get("requestBody", {}).get("content", {})),
                statuses=sorted(operation["responses"]),
            )
