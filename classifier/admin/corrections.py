"""Correcting what was said about a picture, from the prediction's page and its list."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from classifier import corrections
from classifier.admin.base import badge, moment, person
from classifier.corrections import CorrectionRefused
from classifier.models import Correction, Prediction, Withdrawal

# A select needs a value for "none of these" that cannot be taken for "nothing chosen".
NONE_OF_THESE = "-"
# So many of what people said of a prediction are shown, the latest.
MOST_SAID = 20


class CorrectionForm(forms.Form):
    """The labels of the prediction's model, and none of them."""

    label = forms.ChoiceField(label="It shows")

    def __init__(self, prediction: Prediction, posted: Any = None) -> None:
        super().__init__(posted)
        field = self.fields["label"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 (for the type checker)
        field.choices = [
            *prediction.version.model.label_names().items(),
            (NONE_OF_THESE, "none of these"),
        ]
        self.initial["label"] = prediction.label

    def chosen(self) -> str:
        label = str(self.cleaned_data["label"])
        return corrections.NONE_OF_THESE if label == NONE_OF_THESE else label


class CorrectedFilter(admin.SimpleListFilter):
    """Which predictions people looked at."""

    title = "correction"
    parameter_name = "correction"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Corrected or confirmed"), ("no", "Not looked at")]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Prediction]
    ) -> QuerySet[Prediction]:
        if self.value() not in ("yes", "no"):
            return queryset
        return queryset.filter(corrected_label__isnull=self.value() == "no")


def said(label: str | None, predicted: str) -> SafeString | str:
    """Return a correction as a badge: right, another label, or none of these."""
    if label is None:
        return ""
    if label == predicted:
        return badge("right", "active")
    return badge(label or "none of these", "warning")


def said_of(prediction: Prediction) -> list[tuple[SafeString | str, str, SafeString | str]]:
    """Return what people said of a prediction, who and when, the latest first."""
    rows = prediction.corrections.select_related("by", "withdrawal__by")
    return [
        (_said(row, prediction), _who(row), _when(row)) for row in rows.order_by("-id")[:MOST_SAID]
    ]


def _said(correction: Correction, prediction: Prediction) -> SafeString | str:
    if hasattr(correction, "withdrawal"):
        return format_html("<s>{}</s>", correction)
    return said(correction.label, prediction.label)


def _when(correction: Correction) -> SafeString | str:
    if not hasattr(correction, "withdrawal"):
        return moment(correction.created_at)
    taken_back = correction.withdrawal
    return format_html(
        "{}, taken back by {} {}",
        moment(correction.created_at),
        _who(taken_back),
        moment(taken_back.created_at),
    )


def _who(row: Correction | Withdrawal) -> str:
    if row.by is not None:
        return str(row.by)
    return "a visitor" if row.visitor else "a deleted account"


def may_correct(request: HttpRequest) -> bool:
    """Whether this person reviews: the permission review_prediction."""
    return corrections.may_review(person(request))


def correct(request: HttpRequest, page: admin.ModelAdmin[Any], prediction_id: Any) -> HttpResponse:
    """Take the form of a prediction's page; go back to it with the outcome."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    if not may_correct(request):
        raise PermissionDenied
    prediction = get_object_or_404(page.get_queryset(request), pk=prediction_id)
    form = CorrectionForm(prediction, request.POST)
    if form.is_valid():
        give(request, page, prediction, form.chosen())
    else:
        messages.error(request, "; ".join(map(str, form.errors["label"])))
    return HttpResponseRedirect(reverse("admin:classifier_prediction_change", args=[prediction.pk]))


def confirm_all(
    request: HttpRequest, page: admin.ModelAdmin[Any], predictions: QuerySet[Prediction]
) -> None:
    """Confirm the label of each chosen prediction."""
    given = [give(request, page, item, item.label, quietly=True) for item in predictions]
    if count := sum(given):
        messages.success(request, f"Predictions confirmed as right: {count}.")


def give(
    request: HttpRequest,
    page: admin.ModelAdmin[Any],
    prediction: Prediction,
    label: str,
    *,
    quietly: bool = False,
) -> bool:
    """Correct one prediction and write it into the admin's log; return whether it was taken."""
    try:
        correction = corrections.correct(prediction, label=label, by=person(request))
    except CorrectionRefused as refusal:
        messages.error(request, str(refusal))
        return False
    page.log_change(request, prediction, f"Corrected to: {correction}")
    if not quietly:
        messages.success(request, f"Kept: the picture shows {correction}.")
    return True
