"""What stands before every view."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress

from django.conf import settings
from django.core.signals import request_finished
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.shortcuts import render

from classifier import metrics
from classifyme import logs

requests = logging.getLogger("classifyme.requests")

# A server that answers before it has read the body resets the connection, and the browser shows
# that instead of the page. Up to so many bytes are read and thrown away to be heard.
DRAIN_BYTES = 200_000_000
CHUNK_BYTES = 65_536


# The addresses that take many pictures at once; a browser's form without JavaScript sends to `/`.
BATCH_PATHS = frozenset({"/", "/api/v1/predictions/batch"})


STATIC_ROUTE = "/static/"
UNKNOWN_ROUTE = "unknown"
# Asked every few seconds by who watches over us: no news unless under DEBUG.
QUIET_ROUTES = frozenset({"/healthz", "/readyz", "/metrics", STATIC_ROUTE})


class ObservationMiddleware:
    """Gives each request an id, counts and times it, and writes a line about it.

    Stands before all others, so that what they refuse is seen too. The line has the route's
    pattern and never the path or the query, which may say who somebody is.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        request_id = logs.sane_request_id(request.META.get("HTTP_X_REQUEST_ID"))
        # Not taken back here: Django logs refusals once all middleware is through.
        logs.request_id.set(request_id)
        response = self.get_response(request)
        _drain(request, _content_length(request))
        response["X-Request-ID"] = request_id
        _observe(request, response, time.perf_counter() - started)
        return response


@receiver(request_finished, dispatch_uid="classifyme.request_id")
def _forget_request(sender: object, **kwargs: object) -> None:
    logs.request_id.set(logs.NO_REQUEST)


def _observe(request: HttpRequest, response: HttpResponseBase, seconds: float) -> None:
    # Another middleware may have made another method of it.
    method, route, status = request.META["REQUEST_METHOD"], _route(request), response.status_code
    metrics.request_answered(method, route, status, seconds)
    level = logging.DEBUG if route in QUIET_ROUTES else logging.INFO
    if not requests.isEnabledFor(level):
        return
    said: dict[str, object] = {
        "method": method,
        "route": route,
        "status": status,
        "ms": round(seconds * 1000, 1),
        "bytes": int(response.get("Content-Length") or 0),
    }
    if settings.LOG_ADDRESSES:
        said["address"] = request.META.get("REMOTE_ADDR", "")
    message = "%s %s %d, %.1f ms, %d bytes" + (", %s" if settings.LOG_ADDRESSES else "")
    requests.log(level, message, *said.values(), extra=said)


def _route(request: HttpRequest) -> str:
    """Return the pattern of the request's address: few different ones, whatever is asked for."""
    if request.resolver_match is not None:
        return f"/{request.resolver_match.route}"
    return STATIC_ROUTE if request.path.startswith(settings.STATIC_URL) else UNKNOWN_ROUTE


class PageCompressionMiddleware(GZipMiddleware):
    """Compresses pages for browsers that take it: not pictures, downloads or the API's answers.

    Django's own adds random bytes, so that the length does not tell what a page holds beside text
    that somebody else chose (BREACH, Gluck, Harris and Prado 2013).
    """

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        is_page = response.get("Content-Type", "").startswith("text/html")
        if response.streaming or not is_page:
            return response
        return super().process_response(request, response)


class RequestLimitMiddleware:
    """Answers 413 to a body larger than ``settings.REQUEST_MAX_BYTES``, by its declared length.

    A batch of pictures may have API_BATCH_MAX_BYTES.

    A body without a length never reaches Django: under WSGI it counts as empty.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        length = _content_length(request)
        if length <= _most(request):
            return self.get_response(request)
        _drain(request, length)
        request.most_bytes = _most(request)  # type: ignore[attr-defined]
        # A POST that was thrown away must not be parsed by a template that asks for a token.
        request.method = "GET"
        context = {"max_bytes": settings.IMAGE_MAX_BYTES}
        return render(request, "413.html", context, status=413)


def _most(request: HttpRequest) -> int:
    most: int = settings.REQUEST_MAX_BYTES
    return max(most, settings.API_BATCH_MAX_BYTES) if request.path_info in BATCH_PATHS else most


def _content_length(request: HttpRequest) -> int:
    length = request.META.get("CONTENT_LENGTH") or "0"
    # Twenty digits are too many bytes already; Python takes its time over thousands of them.
    return int(length[:20]) if length.isdecimal() else 0


def _drain(request: HttpRequest, length: int) -> None:
    """Read what nobody has read of the body.

    Else a connection that is kept alive would have it before the next request.
    """
    left = min(length, DRAIN_BYTES)
    with suppress(OSError):  # whoever sent it has gone
        while left > 0 and (chunk := request.read(min(CHUNK_BYTES, left))):
            left -= len(chunk)
