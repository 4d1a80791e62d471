"""The front page, and where pictures are sent to: files, an address, a sample; one or many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from uuid import UUID

from django.conf import settings
from django.core.exceptions import TooManyFilesSent
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views import defaults
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods
from django_htmx.http import retarget

from classifier import batches, bulk, classification, imaging, serving, storage, visitors
from classifier.api import problems
from classifier.api.problems import Problem
from classifier.batches import Result, Source
from classifier.models import Prediction
from classifier.pages import asking, samples
from classifier.pages.answers import Answer, SideBySide, Teacher
from classifier.pages.asking import Asked, Refused
from classifier.pages.request import Request

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# What the page's script imports: asked for at once, not one after the other.
MODULES = (
    "js/common.js",
    "js/classify-cards.js",
    "js/classify-queue.js",
    "js/classify-session.js",
    "js/classify-sources.js",
)
FAILURES = (
    Refused,
    Problem,
    imaging.ImageError,
    classification.UnusableAnswer,
    serving.NoActiveVersion,
    storage.StorageUnavailable,
)


@dataclass(frozen=True)
class Sender:
    """Whose the pictures of a request are: a user's, or a visitor's."""

    owner: User | None
    visitor: UUID | None

    @classmethod
    def of(cls, request: HttpRequest) -> Self:
        if request.user.is_authenticated:
            return cls(request.user, None)
        visitor = visitors.of(request) or visitors.new()
        visitors.become(request, visitor)
        return cls(None, visitor)


@dataclass(frozen=True)
class Row:
    """One of many pictures: its answer, or why there is none."""

    name: str
    answer: Answer | None
    problem: str


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def index(request: Request) -> HttpResponse:
    """The front page; for a script that chose another model, the part of it about the model."""
    if request.method == "POST":
        return _classify(request)
    return _about_model(request) if request.htmx else front_page(request)


def front_page(request: Request, problem: str = "", status: int = 200) -> HttpResponse:
    """Return the page with the form, and what was wrong with what was sent, if anything was."""
    teacher = Teacher.now(asking.wanted_model(request))
    name = teacher.model.name if teacher.model else ""
    context = {
        "teacher": teacher,
        "problem": problem,
        "samples": samples.of_model(name),
        "versions": asking.versions_for(request.user, teacher),
        "most_beside": asking.MOST_BESIDE,
        "max_bytes": settings.IMAGE_MAX_BYTES,
        "max_pictures": settings.API_BATCH_MAX_ITEMS,
        "fetches_urls": settings.URL_FETCHING,
        "is_known": is_known(request),
        "formats": ", ".join(imaging.readable_formats()),
        "modules": MODULES,
    }
    response = render(request, "pages/index.html", context, status=status)
    return _remembering(request, response, name)


def is_known(request: HttpRequest) -> bool:
    """Whether the next picture's sender is somebody we know, or one who gets a name with it."""
    return request.user.is_authenticated or visitors.of(request) is not None


def bad_request(request: Request, exception: Exception) -> HttpResponse:
    """Answer what Django refused before any view saw it; a form with too many files in words."""
    if isinstance(exception, TooManyFilesSent) and request.path_info == "/":
        most = settings.API_BATCH_MAX_ITEMS
        sentence = f"At most {most} pictures can be sent in one go. Choose fewer."
        return front_page(request, sentence, 413)
    return defaults.bad_request(request, exception)


def _about_model(request: Request) -> HttpResponse:
    teacher = Teacher.now(asking.wanted_model(request))
    name = teacher.model.name if teacher.model else ""
    context = {"teacher": teacher, "samples": samples.of_model(name)}
    return _remembering(request, render(request, "pages/_model.html", context), name)


def _remembering(request: HttpRequest, response: HttpResponse, shown: str) -> HttpResponse:
    """Remember the model that the address asks for, if it is the one that is shown."""
    if shown and request.GET.get("model") == shown:
        asking.remember_model(response, shown)
    return response


def _classify(request: Request) -> HttpResponse:
    try:
        asked = asking.asked(request)
        sender = Sender.of(request)
        response = _answer(request, asked, sender)
    except FAILURES as error:
        return _problem(request, error)
    if sender.visitor:
        visitors.remember(response, sender.visitor)
    if asked.model:
        asking.remember_model(response, asked.model.name)
    return response


def _answer(request: Request, asked: Asked, sender: Sender) -> HttpResponse:
    if len(asked.sources) > 1:
        return _many(request, asked, sender)
    if len(asked.versions) > 1:
        return _side_by_side(request, asked, sender)
    return _one(request, asked, sender)


def _one(request: Request, asked: Asked, sender: Sender) -> HttpResponse:
    content = _read(asked.sources[0])
    made = classification.classify(
        content,
        filename=asked.sources[0].name,
        owner=sender.owner,
        visitor=sender.visitor,
        model=asked.model,
        version=asked.versions[0] if asked.versions else None,
    )
    if not request.htmx:
        return redirect("pages:prediction", made.id)
    return render(request, "pages/_result.html", {"answer": Answer.of(made)})


def _side_by_side(request: Request, asked: Asked, sender: Sender) -> HttpResponse:
    content = _read(asked.sources[0])
    made = classification.classify_side_by_side(
        content,
        asked.versions,
        filename=asked.sources[0].name,
        owner=sender.owner,
        visitor=sender.visitor,
    )
    if not request.htmx:
        return redirect("pages:upload", made[0].upload_id)
    context = {"beside": SideBySide.of(made)}
    return render(request, "pages/_result_beside.html", context)


def _many(request: Request, asked: Asked, sender: Sender) -> HttpResponse:
    results = batches.classify_many(
        asked.sources,
        owner=sender.owner,
        visitor=sender.visitor,
        model=asked.model,
    )
    rows = _rows(results)
    answered = sum(row.answer is not None for row in rows)
    context = {"rows": rows, "answered": answered, "failed": len(rows) - answered}
    return render(request, "pages/answers.html", context)


def _rows(results: Sequence[Result]) -> list[Row]:
    made: list[Prediction] = [row.prediction for row in results if row.prediction]
    names = made[0].version.model.label_names() if made else {}
    return [
        Row(row.name, Answer(row.prediction, names) if row.prediction else None, row.error)
        for row in results
    ]


def _read(source: Source) -> bytes:
    """Return a picture's bytes. Raises Problem."""
    try:
        return source.read()
    except bulk.ReadError as error:
        raise Problem(error.code, str(error)) from error


def _problem(request: Request, error: Exception) -> HttpResponse:
    status = status_of(error)
    if not request.htmx:
        return front_page(request, str(error), status)
    response = render(request, "pages/_problem.html", {"problem": str(error)}, status=status)
    return retarget(response, "#problem")


def status_of(error: Exception) -> int:
    """Return the HTTP status of one of `FAILURES`."""
    if isinstance(error, Refused):
        return error.status
    found = problems.of(error)
    return found.kind.status if found else 500
