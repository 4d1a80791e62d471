"""What the admin's pages on learning share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django_htmx.http import HttpResponseClientRefresh

from training import requests
from training.live import Live
from training.models import TrainingRequest

if TYPE_CHECKING:
    from django.contrib.auth.models import User

LIVE = "admin/training/_live.html"
View = Callable[[HttpRequest, UUID], HttpResponse]


def fragment(request: HttpRequest, live: Live, address: str) -> HttpResponse:
    """Answer with what is new; once it has ended the page is loaded anew, with what it led to."""
    if not live.goes_on:
        return HttpResponseClientRefresh()
    response = render(request, LIVE, {"live": live, "live_url": address})
    response["Cache-Control"] = "no-store"
    return response


def live_view(site: AdminSite, view: View) -> View:
    """Let a view answer those whom the site lets in; others load their page anew, to sign in.

    The site's own answer, the page to sign in, would be put into the middle of theirs.
    """

    def answer(request: HttpRequest, pk: UUID) -> HttpResponse:
        return view(request, pk) if site.has_permission(request) else HttpResponseClientRefresh()

    return answer


def worker_context() -> dict[str, Any]:
    """Return whether anybody would train, and the command that starts somebody who does."""
    return {
        "workers": requests.workers_alive(),
        "worker_command": requests.command_for_a_worker(),
    }


def may_start(request: HttpRequest) -> bool:
    return request.user.has_perm("training.start_trainingrun")


def may_stop(request: HttpRequest) -> bool:
    return request.user.has_perm("training.stop_trainingrun")


def stop_or_cancel(request: HttpRequest, wish: TrainingRequest, by: User) -> None:
    """Stop what runs, take out of the line what waits, and say which of them it was."""
    if requests.cancel(wish):
        messages.success(request, "It was taken out of the line.")
    elif requests.stop(wish, by=by):
        messages.success(request, "It is being stopped. What it learnt is kept in a checkpoint.")
    else:
        messages.info(request, "It had ended, or was being stopped, already.")


def to(page: str, pk: UUID) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse(f"admin:training_{page}", args=[pk]))
