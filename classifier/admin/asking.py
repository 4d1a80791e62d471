"""Actions that ask before they act: what is about to be done, to which rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.admin import helpers
from django.contrib.admin.options import ActionLocation
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

CONFIRMED = "confirmed"
SHOWN = 20
_KEPT = {helpers.ACTION_CHECKBOX_NAME, "action", "index", "select_across"}

type Act = Callable[[Any, HttpRequest, models.QuerySet[Any]], HttpResponse | None]


def asks(question: str, button: str) -> Callable[[Act], Act]:
    """Make an action of the admin ask first, by a page that lists what it is about."""

    def decorate(act: Act) -> Act:
        @wraps(act)
        def asked(
            page: Any, request: HttpRequest, queryset: models.QuerySet[Any]
        ) -> HttpResponse | None:
            if request.POST.get(CONFIRMED):
                return act(page, request, queryset)
            return _ask(page, request, queryset, question, button)

        return asked

    return decorate


def _ask(
    page: Any, request: HttpRequest, rows: models.QuerySet[Any], question: str, button: str
) -> HttpResponse:
    found = list(rows[: SHOWN + 1])
    context = {
        **page.admin_site.each_context(request),
        "title": question,
        "opts": page.opts,
        "button": button,
        "rows": found[:SHOWN],
        "more": len(found) > SHOWN,
        "fields": _sent(request),
        "back": request.get_full_path(),
    }
    return TemplateResponse(request, "admin/classifier/confirm_action.html", context)


def _sent(request: HttpRequest) -> list[tuple[str, str]]:
    """Return what chose the action and the rows, to be sent once more."""
    of_a_row = f"{ActionLocation.CHANGE_FORM.value}-"
    return [
        (name, str(value))
        for name, values in request.POST.lists()
        if name in _KEPT or name.startswith(of_a_row)
        for value in values
    ]
