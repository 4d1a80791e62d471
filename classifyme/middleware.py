"""What stands before every view."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

# A server that answers before it has read the body resets the connection, and the browser shows
# that instead of the page. Up to so many bytes are read and thrown away to be heard.
DRAIN_BYTES = 200_000_000
CHUNK_BYTES = 65_536


class RequestLimitMiddleware:
    """Answers 413 to a body larger than ``settings.REQUEST_MAX_BYTES``, by its declared length.

    A body without a length never reaches Django: under WSGI it counts as empty.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        length = _content_length(request)
        if length <= settings.REQUEST_MAX_BYTES:
            return self.get_response(request)
        _drain(request, length)
        # A POST that was thrown away must not be parsed by a template that asks for a token.
        request.method = "GET"
        context = {"max_bytes": settings.IMAGE_MAX_BYTES}
        return render(request, "413.html", context, status=413)


def _content_length(request: HttpRequest) -> int:
    length = request.META.get("CONTENT_LENGTH") or "0"
    # Twenty digits are too many bytes already; Python takes its time over thousands of them.
    return int(length[:20]) if length.isdecimal() else 0


def _drain(request: HttpRequest, length: int) -> None:
    left = min(length, DRAIN_BYTES)
    while left > 0 and (chunk := request.read(min(CHUNK_BYTES, left))):
        left -= len(chunk)
