"""Saying what a picture really shows, beside any answer; and taking that back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from classifier import corrections, visitors
from classifier.corrections import NONE_OF_THESE, CorrectionRefused
from classifier.models import Correction, Prediction
from classifier.pages.request import Request

if TYPE_CHECKING:
    from django.contrib.auth.models import User

NONE_WORDS = "None of these"
# With more labels than these one finds the right one by typing.
FEW_LABELS = 12
STATUS = {"not_allowed": 403, "unknown_label": 422}
# So many of what people said are shown, the latest.
MOST_SAID = 20


@dataclass(frozen=True)
class Person:
    """Who asks, as pages know them."""

    user: User | None
    visitor: UUID | None

    @classmethod
    def of(cls, request: HttpRequest) -> Self:
        user = request.user
        return cls(user, None) if user.is_authenticated else cls(None, visitors.of(request))

    def is_who(self, by_id: Any, visitor: UUID | None) -> bool:
        if self.user is not None:
            return bool(by_id == self.user.pk)
        return visitor is not None and visitor == self.visitor

    def name(self, by: User | None, visitor: UUID | None) -> str:
        """Say who somebody is; the names of accounts are for staff."""
        if self.is_who(by.pk if by else None, visitor):
            return "you"
        if by is None:
            return "a visitor" if visitor else "a deleted account"
        if self.user is not None and self.user.is_staff:
            return by.get_username()
        return "a reviewer" if by.is_staff else "the owner"


@dataclass(frozen=True)
class Said:
    """What one person said of a prediction, and whether it was taken back."""

    correction: Correction
    words: str
    who: str
    taken_back_by: str = ""
    may_withdraw: bool = False

    @property
    def stands(self) -> bool:
        return not self.taken_back_by


@dataclass(frozen=True)
class Correcting:
    """A prediction as the form for correcting it shows it."""

    prediction: Prediction
    names: Mapping[str, str]
    person: Person
    # What was just done, for a message that offers to take it back.
    done: str = ""
    undo: str = ""

    @cached_property
    def is_allowed(self) -> bool:
        return corrections.may_correct(
            self.prediction, by=self.person.user, visitor=self.person.visitor
        )

    @cached_property
    def said(self) -> list[Said]:
        """What people said, the latest first."""
        rows = self.prediction.corrections.select_related("by", "withdrawal__by")
        return [self._said(row) for row in rows.order_by("-id")[:MOST_SAID]]

    @cached_property
    def counts(self) -> Said | None:
        """The one that counts."""
        return next((line for line in self.said if line.stands), None)

    @property
    def is_right(self) -> bool:
        return self.counts is not None and self.counts.correction.label == self.prediction.label

    @property
    def label(self) -> str:
        return self.words(self.prediction.label)

    @property
    def has_many(self) -> bool:
        return len(self.names) > FEW_LABELS

    def words(self, label: str) -> str:
        return NONE_WORDS if label == NONE_OF_THESE else self.names.get(label, label)

    def _said(self, row: Correction) -> Said:
        withdrawn = getattr(row, "withdrawal", None)
        # The prediction is here already, with its upload.
        row.prediction = self.prediction
        return Said(
            row,
            self.words(row.label),
            self.person.name(row.by, row.visitor),
            self.person.name(withdrawn.by, withdrawn.visitor) if withdrawn else "",
            withdrawn is None
            and corrections.may_withdraw(row, by=self.person.user, visitor=self.person.visitor),
        )


def correcting(request: HttpRequest, prediction: Prediction, **done: str) -> Correcting:
    """Return what `pages/_correct.html` shows; `{% correcting %}` in a template is short for it."""
    names = prediction.version.model.label_names()
    return Correcting(prediction, names, Person.of(request), **done)


@require_POST
def correct(request: Request, prediction_id: UUID) -> HttpResponse:
    """Record what the picture shows: `label` is a key, or empty for none of the labels."""
    found = _found(request, prediction_id)
    label = request.POST.get("label")
    if label is None:
        return _refused(request, "Choose what the picture shows.", 400)
    person = Person.of(request)
    try:
        made = corrections.correct(found, label=label, by=person.user, visitor=person.visitor)
    except CorrectionRefused as refusal:
        return _refused(request, str(refusal), STATUS.get(refusal.code, 404))
    undo = reverse("pages:withdraw", args=[made.pk])
    words = correcting(request, found).words(label)
    kept = "Kept: the answer is right." if made.confirms else f"Kept: it shows {words}."
    if label == NONE_OF_THESE:
        kept = "Kept: it shows none of these."
    return _shown(request, found, done=kept, undo=undo)


@require_POST
def withdraw(request: Request, correction_id: UUID) -> HttpResponse:
    """Take a correction back."""
    visible = Prediction.objects.visible_to(request.user, visitors.of(request))
    rows = Correction.objects.select_related("prediction__upload", "prediction__version__model")
    found = get_object_or_404(rows.filter(prediction__in=visible), pk=correction_id)
    person = Person.of(request)
    try:
        corrections.withdraw(found, by=person.user, visitor=person.visitor)
    except CorrectionRefused as refusal:
        return _refused(request, str(refusal), STATUS.get(refusal.code, 404))
    return _shown(request, found.prediction, done="Taken back.")


def _found(request: Request, prediction_id: UUID) -> Prediction:
    visible = Prediction.objects.visible_to(request.user, visitors.of(request))
    return get_object_or_404(visible.for_display(), pk=prediction_id)


def _shown(request: Request, prediction: Prediction, **done: str) -> HttpResponse:
    """Answer with the part of a page, or send a browser without script back to the page."""
    if not _is_script(request):
        address = reverse("pages:prediction", args=[prediction.pk])
        return redirect(f"{address}#correct-{prediction.pk}")
    context = {"correcting": correcting(request, prediction, **done)}
    return render(request, "pages/_correct.html", context)


def _refused(request: Request, sentence: str, status: int) -> HttpResponse:
    if _is_script(request):
        return HttpResponse(sentence, content_type="text/plain; charset=utf-8", status=status)
    return render(request, "pages/refused.html", {"problem": sentence}, status=status)


def _is_script(request: Request) -> bool:
    return bool(request.htmx) or request.headers.get("X-Requested-With") == "fetch"
