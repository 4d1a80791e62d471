"""The pages: parse, call one thing, respond. htmx gets the part of the page that changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe
from django_htmx.http import retarget

from classifier import classification, imaging, serving, storage, visitors
from classifier.models import Prediction, PredictionQuerySet, Upload
from classifier.pages import history as past
from classifier.pages import pictures
from classifier.pages.answers import Answer, Teacher
from classifier.pages.forms import ImageForm

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django_htmx.middleware import HtmxDetails

    class Request(HttpRequest):
        htmx: HtmxDetails
        user: User

else:
    Request = HttpRequest

STATUS_OF_IMAGE_ERROR = {
    imaging.ErrorCode.EMPTY: 400,
    imaging.ErrorCode.NOT_AN_IMAGE: 415,
    imaging.ErrorCode.UNSUPPORTED_FORMAT: 415,
    imaging.ErrorCode.TRUNCATED: 422,
    imaging.ErrorCode.TOO_MANY_BYTES: 413,
    imaging.ErrorCode.TOO_MANY_PIXELS: 413,
    imaging.ErrorCode.OUT_OF_MEMORY: 503,
}


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def index(request: Request) -> HttpResponse:
    """The front page, and where a picture is sent to."""
    if request.method != "POST":
        return _front_page(request)
    form = ImageForm(request.POST, request.FILES)
    if not form.is_valid():
        return _problem(request, form.problem(), 400)
    return _answer(request, form.cleaned_data["image"])


def _answer(request: Request, image: UploadedFile[bytes]) -> HttpResponse:
    """Have the picture classified, and say what came of it or why nothing did."""
    try:
        return _classified(request, image)
    except imaging.ImageError as error:
        return _problem(request, str(error), STATUS_OF_IMAGE_ERROR[error.code])
    except classification.UnusableAnswer as error:
        return _problem(request, str(error), 500)
    except storage.StorageFull as error:
        return _problem(request, str(error), 507)
    except (serving.NoActiveVersion, storage.StorageUnavailable) as error:
        return _problem(request, str(error), 503)


def _classified(request: Request, image: UploadedFile[bytes]) -> HttpResponse:
    owner = request.user if request.user.is_authenticated else None
    visitor = None if owner else visitors.of(request) or visitors.new()
    made = classification.classify(
        image.read(), filename=image.name or "", owner=owner, visitor=visitor
    )
    response = _result(request, made)
    if visitor:
        visitors.remember(response, visitor)
    return response


def _result(request: Request, made: Prediction) -> HttpResponse:
    if not request.htmx:
        return redirect("pages:prediction", made.id)
    return render(request, "pages/_result.html", {"answer": Answer.of(made)})


def _problem(request: Request, problem: str, status: int) -> HttpResponse:
    if not request.htmx:
        return _front_page(request, problem, status)
    response = render(request, "pages/_problem.html", {"problem": problem}, status=status)
    return retarget(response, "#problem")


def _front_page(request: Request, problem: str = "", status: int = 200) -> HttpResponse:
    context = {
        "teacher": Teacher.now(),
        "problem": problem,
        "max_bytes": settings.IMAGE_MAX_BYTES,
        "formats": ", ".join(imaging.readable_formats()),
    }
    return render(request, "pages/index.html", context, status=status)


@never_cache
@require_safe
def history(request: Request) -> HttpResponse:
    """What this person classified, newest first; for staff, what anybody did."""
    shown = past.history(_predictions(request), request.GET)
    return render(request, "pages/history.html", {"history": shown})


@never_cache
@require_safe
def prediction(request: Request, prediction_id: UUID) -> HttpResponse:
    """One picture and what one version said about it."""
    found = get_object_or_404(_predictions(request).for_display(), pk=prediction_id)
    return render(request, "pages/prediction.html", {"answer": Answer.of(found)})


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: Request, prediction_id: UUID) -> HttpResponse:
    """Ask, then delete the answer and its picture."""
    found = get_object_or_404(_predictions(request).for_display(), pk=prediction_id)
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
