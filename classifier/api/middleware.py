"""What holds for every address of the API, whoever answered: a view, Django or a middleware."""

from __future__ import annotations

import json
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from classifier.api import limits
from classifier.api.problems import CODE_OF_STATUS, MEDIA_TYPE, Problem, too_large


def is_api(path: str) -> bool:
    """Whether the address is one of the API's; `path` as Django routes it."""
    return path.startswith(("/api/", "/predict/")) or path in ("/api", "/predict")


class ApiMiddleware:
    """Errors are problem details, nobody else keeps an answer, and HEAD is answered as GET is.

    Stands before what may refuse a request, so that this is put into the API's words too.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not is_api(request.path_info):
            return self.get_response(request)
        response = self._answer(request)
        if response.status_code >= 400 and response.headers.get("Content-Type") != MEDIA_TYPE:
            _put_into_words(request, response)
        response.headers.setdefault("Cache-Control", "no-store")
        limits.tell(request, response)
        return response

    def _answer(self, request: HttpRequest) -> HttpResponse:
        if request.method != "HEAD":
            return self.get_response(request)
        request.method = "GET"
        try:
            return self.get_response(request)
        finally:
            request.method = "HEAD"  # so that the server leaves out the body


def _put_into_words(request: HttpRequest, response: HttpResponse) -> None:
    """Make a problem of an error that Django or a middleware answered, and keep its headers."""
    status = response.status_code
    most = getattr(request, "most_bytes", None)
    problem = too_large(most) if most else Problem(CODE_OF_STATUS.get(status, _nearest(status)))
    members = problem.to_json(request.path) | {"status": status}
    response.content = json.dumps(members)
    response.headers["Content-Type"] = MEDIA_TYPE
    response.headers["Content-Length"] = str(len(response.content))


def _nearest(status: int) -> str:
    return "internal_error" if status >= 500 else "bad_request"
