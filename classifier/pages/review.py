"""The review queue: one picture after the other, by a form and page after page, or by a script."""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Self
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from classifier import reviewing
from classifier.corrections import NONE_OF_THESE, CorrectionRefused
from classifier.imaging import BROWSER_FORMATS
from classifier.models import RegisteredModel
from classifier.pages.answers import Answer
from classifier.pages.correcting import FEW_LABELS, NONE_WORDS, Person
from classifier.pages.request import Request
from classifier.reviewing import Card, Progress, Reviewer, ReviewRefused
from classifier.reviewing_order import OWN_ROWS

# A window has so many pictures at hand, and may ask for no more.
AHEAD = 6
# What s, u and n do goes before a label of that letter.
KEYS = "1234567890" + "".join(letter for letter in string.ascii_lowercase if letter not in "sun")
# Below this the two highest probabilities say why a picture was chosen.
CLOSE = 0.2
SMALL = 48  # pixels
# A larger picture comes as the small copy of it.
LARGEST_AS_SENT = 1_500_000
_WINDOW = re.compile(r"[A-Za-z0-9_-]{1,32}\Z")
# Wherever a person is, their day began no longer ago.
LONGEST_DAY = timedelta(hours=26)


@dataclass(frozen=True)
class Choice:
    """A label to press, and the key that does the same; no key is left for the 34th."""

    label: str
    name: str
    key: str


@dataclass(frozen=True)
class ShownCard:
    """A picture to look at, what the model said of it, and why it was chosen."""

    card: Card
    answer: Answer

    @property
    def why(self) -> str:
        if self.card.at_random:
            return "Drawn at random, so that not only hard pictures are looked at."
        first, *others = self.answer.bars
        if others and self.card.prediction.margin < CLOSE:
            second = others[0]
            return (
                f"Chosen because the model could hardly decide: {first.name} {first.percent}, "
                f"{second.name} {second.percent}."
            )
        return "Chosen because the model was less sure of it than of all that is left."

    @property
    def image(self) -> str:
        """The address of the picture, of a size for a screen."""
        upload = self.card.prediction.upload
        as_sent = upload.bytes <= LARGEST_AS_SENT and upload.media_type in BROWSER_FORMATS
        name = "pages:picture" if as_sent else "pages:preview"
        return reverse(name, args=[upload.pk])

    @property
    def is_small(self) -> bool:
        """Whether it is of so few pixels that it is better seen as pixels than as fog."""
        upload = self.card.prediction.upload
        return max(upload.width, upload.height) <= SMALL


@dataclass(frozen=True)
class Desk:
    """Who reviews which model at which window, and what the page says of it."""

    reviewer: Reviewer
    model: RegisteredModel
    since: datetime

    @classmethod
    def of(cls, request: Request) -> Self:
        """Return what the request asks for; Http404 for a model that is none."""
        asked = request.POST if request.method == "POST" else request.GET
        window = asked.get("window", "")
        if not _WINDOW.match(window):
            window = secrets.token_urlsafe(9)
        person = Person.of(request)
        reviewer = Reviewer(person.user, person.visitor, window)
        return cls(reviewer, _model(asked.get("model", "")), _since(asked.get("since", "")))

    @cached_property
    def names(self) -> dict[str, str]:
        return self.model.label_names()

    @cached_property
    def choices(self) -> list[Choice]:
        keys = iter(KEYS)
        return [Choice(label, name, next(keys, "")) for label, name in self.names.items()]

    @property
    def has_many(self) -> bool:
        return len(self.names) > FEW_LABELS

    @cached_property
    def models(self) -> list[RegisteredModel]:
        """The models to choose from: all that answer."""
        return list(RegisteredModel.objects.exclude(active_version=None))

    @property
    def own(self) -> str:
        """How many of their own pictures the queue reaches back to."""
        return f"{OWN_ROWS:,}"

    @cached_property
    def left(self) -> str:
        return bounded(reviewing.left(self.reviewer, self.model), reviewing.MOST_LEFT)

    @cached_property
    def progress(self) -> Progress:
        return reviewing.progress(self.reviewer, self.since)

    @property
    def address(self) -> str:
        query = {"model": self.model.name, "window": self.reviewer.window}
        return f"{reverse('pages:review')}?{urlencode(query)}"

    def show(self, card: Card) -> ShownCard:
        return ShownCard(card, Answer(card.prediction, self.names))

    def take(self, count: int, *, opens: bool = False) -> list[ShownCard]:
        taken = reviewing.take(self.reviewer, self.model, count, takes_over=opens)
        return [self.show(card) for card in taken]

    def words(self, label: str) -> str:
        return NONE_WORDS if label == NONE_OF_THESE else self.names.get(label, label)

    def told(self) -> dict[str, Any]:
        """Return for a script how far this person is."""
        done = bounded(self.progress.done, reviewing.MOST_TODAY)
        return {"done": done, "pace": pace_words(self.progress.pace)}


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def review(request: Request) -> HttpResponse:
    """A picture and the labels to say what it shows; POST says it, skips, or goes a step back."""
    if not RegisteredModel.objects.exists():
        return render(request, "pages/review.html", {"desk": None})
    desk = Desk.of(request)
    if request.method == "POST":
        return _act(request, desk)
    cards = desk.take(1, opens=True)
    card = cards[0] if cards else None
    context = {"desk": desk, "card": card, "ahead": AHEAD, "pace": pace_words(desk.progress.pace)}
    return render(request, "pages/review.html", context)


@never_cache
@require_POST
def review_next(request: Request) -> JsonResponse:
    """Renew what a script's window holds, and give it more: as HTML, by the predictions' ids."""
    desk = Desk.of(request)
    has = set(request.POST.getlist("has"))
    cards = desk.take(AHEAD)
    html = {
        str(one.card.prediction.pk): render_to_string("pages/_review_card.html", {"card": one})
        for one in cards
        if str(one.card.prediction.pk) not in has
    }
    held = [str(one.card.prediction.pk) for one in cards]
    return JsonResponse({"held": held, "cards": html, "left": desk.left, **desk.told()})


@require_POST
def review_release(request: Request) -> HttpResponse:
    """Let go of what a window holds, because it is closed."""
    reviewing.release(Desk.of(request).reviewer)
    return HttpResponse(status=204)


def _act(request: Request, desk: Desk) -> HttpResponse:
    try:
        done = _do(request.POST, desk)
    except ReviewRefused as refusal:
        return _refused(request, desk, f"{refusal} Your answer was not kept.", 409)
    except CorrectionRefused as refusal:
        return _refused(request, desk, str(refusal), 422)
    except ValueError as error:
        return _refused(request, desk, str(error), 400)
    if _is_script(request):
        return JsonResponse({**done, **desk.told()})
    messages.success(request, done["said"])
    return redirect(desk.address)


def _do(posted: Mapping[str, str], desk: Desk) -> dict[str, Any]:
    """Carry out what one key or button says; ValueError for what is none of them."""
    what = posted.get("do", "label" if "label" in posted else "")
    if what == "undo":
        # A script names the step; a form has the picture that comes next beside it, not the last.
        step = _id(posted["step"]) if "step" in posted else None
        return _undone(reviewing.undo(desk.reviewer, desk.model, step), desk)
    prediction = _id(posted.get("prediction", ""))
    if what == "skip":
        reviewing.skip(desk.reviewer, prediction)
        return {"said": "Skipped: others are shown it, you are not for 12 hours."}
    if what != "label":
        raise ValueError("Choose what the picture shows.")
    made = reviewing.answer(desk.reviewer, prediction, posted["label"])
    return {"said": f"Kept: {desk.words(made.label)}.", "correction": str(made.pk)}


def _undone(card: Card | None, desk: Desk) -> dict[str, Any]:
    if card is None:
        return {"said": "There is nothing to take back.", "card": "", "prediction": ""}
    html = render_to_string("pages/_review_card.html", {"card": desk.show(card)})
    return {"said": "Taken back.", "card": html, "prediction": str(card.prediction.pk)}


def _refused(request: Request, desk: Desk, sentence: str, status: int) -> HttpResponse:
    if _is_script(request):
        return JsonResponse({"problem": sentence}, status=status)
    context = {"problem": sentence, "back": desk.address}
    return render(request, "pages/refused.html", context, status=status)


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ValueError("There is no such picture. Reload the page.") from None


def _model(name: str) -> RegisteredModel:
    """Return the model of this name, or the one that the front page asks."""
    models = RegisteredModel.objects.select_related("active_version").order_by("-is_default", "pk")
    found = models.filter(name=name[:64].replace("\0", "")) if name else models
    model = found.first()
    if model is None:
        raise Http404("No model is registered under this name.")
    return model


def _since(text: str) -> datetime:
    """Return when the person's day began: a Unix time in seconds, or midnight in UTC."""
    now = timezone.now()
    try:
        since = datetime.fromtimestamp(float(text), tz=UTC)
    except (ValueError, OverflowError, OSError):
        since = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return min(max(since, now - LONGEST_DAY), now)


def bounded(count: int, most: int) -> str:
    """Return a count as a word: 17, or 500+ where nobody counted on."""
    return f"{most:,}+" if count > most else f"{count:,}"


def pace_words(pace: float | None) -> str:
    return "" if pace is None else f"{pace:.0f}" if pace >= 10 else f"{pace:.1f}"


def _is_script(request: Request) -> bool:
    return request.headers.get("X-Requested-With") == "fetch"
