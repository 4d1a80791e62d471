"""The request as the middlewares leave it, for the types of the views alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpRequest

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django_htmx.middleware import HtmxDetails

    class Request(HttpRequest):
        htmx: HtmxDetails
        user: User

else:
    Request = HttpRequest
