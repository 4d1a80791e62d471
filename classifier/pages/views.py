"""The pages: parse, call one thing, respond. htmx gets the part of the page that changes."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from classifier import classification, imaging, selection, storage, visitors
from classifier.api import answers as api_answers
from classifier.api.classifying import MOST_TOP
from classifier.models import Prediction, PredictionQuerySet, Upload
from classifier.pages import history as past
from classifier.pages import pictures
from classifier.pages.answers import Answer, SideBySide
from classifier.pages.request import Request

# So many answers about one picture stand beside each other on its page, the newest.
MOST_ANSWERS = 12


@never_cache
@require_safe
def history(request: Request) -> HttpResponse:
    """What this person classified, newest first; for staff, what anybody did."""
    if not request.htmx and past.has_empty(request.GET):
        # A plain form sends what was not filled in, too. The address is for sharing.
        return redirect(past.address(request.GET.urlencode()))
    shown = past.history(
        _predictions(request),
        request.GET,
        everybodys=request.user.is_staff,
        view=request.COOKIES.get(past.VIEW_COOKIE),
    )
    part = "_past" if request.htmx.target == "past" else "history"
    response = render(request, f"pages/{part}.html", {"history": shown})
    past.remember_view(response, shown)
    return response


@never_cache
@require_safe
def prediction(request: Request, prediction_id: UUID) -> HttpResponse:
    """One picture and what one version said about it; for a script, the answer alone."""
    found = get_object_or_404(_predictions(request).for_display(), pk=prediction_id)
    answer = Answer.of(found)
    if request.htmx:
        return render(request, "pages/_result.html", {"answer": answer})
    by = request.user if request.user.is_authenticated else None
    context = {
        "answer": answer,
        "has_others": Prediction.objects.filter(upload=found.upload_id)
        .exclude(pk=found.pk)
        .exists(),
        "may_delete": selection.may_delete(found, by=by, visitor=visitors.of(request)),
    }
    return render(request, "pages/prediction.html", context)


@never_cache
@require_safe
def prediction_json(request: Request, prediction_id: UUID) -> HttpResponse:
    """The same as the API tells it, for whoever may see the page."""
    visible = _predictions(request).for_display().with_correction()
    found = get_object_or_404(visible, pk=prediction_id)
    content = api_answers.answered(found, top=MOST_TOP, mine=found.owner_id is not None)
    response = api_answers.respond(content)
    name = f"prediction-{found.pk}.json"
    response["Content-Disposition"] = f'inline; filename="{name}"'
    return response


@never_cache
@require_safe
def upload(request: Request, upload_id: UUID) -> HttpResponse:
    """One picture and what every version that was asked said about it."""
    about = _predictions(request).for_display().filter(upload=upload_id)
    found = list(about.order_by("-id")[:MOST_ANSWERS])
    if not found:
        raise Http404("Nobody may see this picture, or there is none.")
    found.reverse()
    return render(request, "pages/upload.html", {"beside": SideBySide.of(found)})


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: Request, prediction_id: UUID) -> HttpResponse:
    """Ask, then delete the answer and its picture."""
    found = get_object_or_404(_predictions(request).for_display(), pk=prediction_id)
    by = request.user if request.user.is_authenticated else None
    if not selection.may_delete(found, by=by, visitor=visitors.of(request)):
        raise PermissionDenied("Only who sent a picture deletes it, or staff who may.")
    if request.method != "POST":
        return render(request, "pages/delete.html", {"answer": Answer.of(found)})
    classification.delete(found)
    messages.success(request, "Deleted.")
    return redirect("pages:history")


@require_safe
def picture(request: Request, upload_id: UUID) -> HttpResponseBase:
    """The stored picture, for whom it belongs to."""
    return _shown(request, upload_id, pictures.picture)


@require_safe
def preview(request: Request, upload_id: UUID) -> HttpResponseBase:
    """The stored picture, of a size for a screen, for whom it belongs to."""
    return _shown(request, upload_id, pictures.preview)


@require_safe
def thumbnail(request: Request, upload_id: UUID) -> HttpResponseBase:
    """The stored picture, small, for whom it belongs to."""
    return _shown(request, upload_id, pictures.thumbnail)


def _shown(
    request: Request, upload_id: UUID, show: Callable[[HttpRequest, Upload], HttpResponseBase]
) -> HttpResponseBase:
    visible = Upload.objects.visible_to(request.user, visitors.of(request))
    upload = get_object_or_404(visible, pk=upload_id)
    try:
        return show(request, upload)
    except imaging.Busy as error:
        return HttpResponse(str(error), content_type="text/plain", status=503)
    except (storage.PictureMissing, imaging.ImageError) as error:
        raise Http404(str(error)) from error
    except storage.StorageUnavailable as error:
        return HttpResponse(str(error), content_type="text/plain", status=503)


def _predictions(request: Request) -> PredictionQuerySet:
    return Prediction.objects.visible_to(request.user, visitors.of(request))
