"""What is done with pictures chosen in the history: corrected, deleted, exported.

All of it is plain forms that come back to the list. A script asks for JSON and stays on the page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from classifier import corrections, selection, visitors
from classifier.filters import HistoryForm
from classifier.labels import exports
from classifier.models import Prediction, PredictionQuerySet
from classifier.pages import history as past
from classifier.pages.answers import Vocabulary
from classifier.selection import Outcome, SelectionRefused

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# A select needs values for these that cannot be taken for "nothing chosen".
NONE_OF_THESE = "-"
AS_ANSWERED = "="


@never_cache
@require_POST
def correct(request: HttpRequest) -> HttpResponse:
    """Take one label for all that were chosen."""
    wanted = request.POST.get("label", "")
    if not wanted:
        return _refused(request, "Choose what the pictures show, then press Correct.")
    label = {NONE_OF_THESE: corrections.NONE_OF_THESE, AS_ANSWERED: None}.get(wanted, wanted)
    by, visitor = _person(request)
    try:
        chosen = selection.chosen(_visible(request), request.POST.getlist("ids"))
    except SelectionRefused as refusal:
        return _refused(request, str(refusal))
    outcome = selection.correct(chosen, label=label, by=by, visitor=visitor)
    done = _counted(len(outcome.done), "confirmed" if label is None else "corrected")
    return _done(request, done, outcome)


@never_cache
@require_POST
def take_back(request: HttpRequest) -> HttpResponse:
    """Take back the corrections that a selection just got."""
    by, visitor = _person(request)
    ids = request.POST.getlist("corrections")
    try:
        count = selection.take_back(_visible(request), ids, by=by, visitor=visitor)
    except SelectionRefused as refusal:
        return _refused(request, str(refusal))
    return _done(request, _counted(count, "as before"), Outcome(()))


@never_cache
@require_POST
def delete(request: HttpRequest) -> HttpResponse:
    """Ask whether all of these shall go; delete them when that was answered."""
    by, visitor = _person(request)
    try:
        chosen = selection.chosen(_visible(request), request.POST.getlist("ids"))
    except SelectionRefused as refusal:
        return _refused(request, str(refusal))
    if request.POST.get("confirmed") != "yes":
        return _ask(request, chosen)
    outcome = selection.delete(chosen, by=by, visitor=visitor)
    return _done(request, _counted(len(outcome.done), "deleted"), outcome)


@never_cache
@require_POST
def export(request: HttpRequest) -> HttpResponse:
    """Begin an export of what was chosen, or of all that the filter shows, and go to it."""
    by, visitor = _person(request)
    everything = request.GET.get("all") == "yes"
    try:
        made = exports.start(
            by=by,
            visitor=visitor,
            query=_asked(request) if everything else None,
            ids=None if everything else _ids(request),
            fmt=request.POST.get("format", ""),
            address=f"{request.scheme}://{request.get_host()}",
        )
    except (SelectionRefused, exports.ExportRefused) as refusal:
        return _refused(request, str(refusal))
    return redirect("pages:labels-download", made.pk)


def _ids(request: HttpRequest) -> list[UUID]:
    chosen = selection.chosen(_visible(request), request.POST.getlist("ids"))
    return [prediction.pk for prediction in chosen]


def _asked(request: HttpRequest) -> dict[str, str]:
    """Return the filter that the page showed. Raises SelectionRefused if it has a mistake.

    Nonsense filters nothing: an export would have more in it than was meant.
    """
    query = dict(parse_qsl(_back_query(request)))
    if not HistoryForm(query, everybodys=request.user.is_staff).is_valid():
        raise SelectionRefused("The filter has a mistake: nothing was exported. Correct it first.")
    return {name: value for name, value in query.items() if name in past.OF_A_FILTER}


def _ask(request: HttpRequest, chosen: list[Prediction]) -> HttpResponse:
    vocabulary = Vocabulary.load()
    context = {
        "answers": [vocabulary.answer(prediction) for prediction in chosen],
        "back": _back_query(request),
    }
    return render(request, "pages/delete_chosen.html", context)


def _counted(count: int, what: str) -> str:
    return f"{count} picture{'' if count == 1 else 's'} {what}."


def _done(request: HttpRequest, sentence: str, outcome: Outcome) -> HttpResponse:
    left = f"{_counted(outcome.refused, 'left as before')} " if outcome.refused else ""
    reasons = left + " ".join(outcome.refusals)
    if _is_script(request):
        made = [str(pk) for pk in outcome.made]
        return JsonResponse({"done": sentence, "problem": reasons, "corrections": made})
    messages.success(request, sentence)
    if reasons:
        messages.warning(request, reasons)
    return redirect(_back(request))


def _refused(request: HttpRequest, sentence: str) -> HttpResponse:
    if _is_script(request):
        return JsonResponse({"problem": sentence}, status=400)
    messages.error(request, sentence)
    return redirect(_back(request))


def _back(request: HttpRequest) -> str:
    return past.address(request.POST.get("back", ""))


def _back_query(request: HttpRequest) -> str:
    return past.clean_query(request.POST.get("back", "")).removeprefix("?")


def _is_script(request: HttpRequest) -> bool:
    return request.headers.get("X-Requested-With") == "fetch"


def _person(request: HttpRequest) -> tuple[User | None, UUID | None]:
    if request.user.is_authenticated:
        return request.user, None
    return None, visitors.of(request)


def _visible(request: HttpRequest) -> PredictionQuerySet:
    return Prediction.objects.visible_to(request.user, visitors.of(request))
