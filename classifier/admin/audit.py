"""The audit log: who switched what and why, what the gate said, what served at any moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from classifier import auditing
from classifier.admin.base import ReadOnlyAdmin, badge, moment
from classifier.labels import cells
from classifier.models import Activation, RegisteredModel

COLUMNS = ("at", "model", "version", "before", "by", "reason", "kind", "gate")
COMMAND_LINE = "the command line"
CHUNK = 500  # rows


class WhoFilter(admin.SimpleListFilter):
    """By the names that stand in the rows: they outlive the accounts."""

    title = "person"
    parameter_name = "who"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        names = Activation.objects.order_by("by_name").values_list("by_name", flat=True).distinct()
        return [(name or "-", name or COMMAND_LINE) for name in names]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Activation]
    ) -> QuerySet[Activation]:
        value = self.value()
        return queryset.filter(by_name="" if value == "-" else value) if value else queryset


class KindFilter(admin.SimpleListFilter):
    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("over", "Gate overridden"), ("back", "Rolled back")]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Activation]
    ) -> QuerySet[Activation]:
        if self.value() == "over":
            return queryset.filter(overrode=True)
        return queryset.filter(is_rollback=True) if self.value() == "back" else queryset


class MomentForm(forms.Form):
    """A moment in UTC, and the model it is about."""

    at = forms.DateTimeField(
        label="At (UTC)",
        widget=forms.DateTimeInput(
            attrs={"type": "datetime-local", "step": 1}, format="%Y-%m-%dT%H:%M"
        ),
        error_messages={"invalid": "Expected a date and a time, such as 2026-11-21 09:30."},
    )
    model = forms.ModelChoiceField(
        RegisteredModel.objects.all(), required=False, empty_label="all models"
    )

    def clean_at(self) -> datetime:
        chosen: datetime = self.cleaned_data["at"]
        return chosen.replace(tzinfo=UTC) if chosen.tzinfo is None else chosen


@admin.register(Activation)
class ActivationAdmin(ReadOnlyAdmin[Activation]):
    """Append-only: who, when, why, what served before, and what the gate said."""

    change_list_template = "admin/classifier/activation/change_list.html"
    list_display = ("when", "activated", "before", "who", "reason")
    list_filter = ("model", WhoFilter, KindFilter)
    list_select_related = ("version__model", "previous")
    date_hierarchy = "at"
    fields = ("when", "model", "version", "previous", "who", "reason", "kind", "said")
    show_facets = admin.ShowFacets.NEVER

    @admin.display(description="when (UTC)", ordering="at")
    def when(self, obj: Activation) -> SafeString | str:
        return moment(obj.at)

    @admin.display(description="version")
    def activated(self, obj: Activation) -> SafeString:
        return format_html("{} {}", obj.version, self.kind(obj))

    @admin.display(description="before")
    def before(self, obj: Activation) -> str:
        return f"v{obj.previous.number}" if obj.previous else ""

    @admin.display(description="by")
    def who(self, obj: Activation) -> str:
        return obj.by_name or COMMAND_LINE

    @admin.display(description="kind")
    def kind(self, obj: Activation) -> SafeString | str:
        if obj.overrode:
            return badge("gate overridden", "error")
        return badge("rolled back", "warning") if obj.is_rollback else ""

    @admin.display(description="what the gate said")
    def said(self, obj: Activation) -> SafeString | str:
        if not obj.gate:
            return "It was not asked."
        page = render_to_string("admin/classifier/findings.html", {"findings": obj.gate})
        return mark_safe(page)  # noqa: S308 (a template, which escapes)

    def get_urls(self) -> list[URLPattern]:
        guard = self.admin_site.admin_view
        return [
            path("served/", guard(self.served_view), name="classifier_activation_served"),
            path("export/", guard(self.export_view), name="classifier_activation_export"),
            *super().get_urls(),
        ]

    def served_view(self, request: HttpRequest) -> HttpResponse:
        """What served at a moment, by whom: of one model or of all."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        now = timezone.now()
        form = MomentForm(request.GET or {"at": f"{now:%Y-%m-%dT%H:%M:%S}"})
        served = []
        if form.is_valid():
            served = auditing.served_at(form.cleaned_data["at"], form.cleaned_data["model"])
        context = {
            **self.admin_site.each_context(request),
            "title": "What served",
            "opts": self.opts,
            "form": form,
            "served": served,
        }
        return TemplateResponse(request, "admin/classifier/activation/served.html", context)

    def export_view(self, request: HttpRequest) -> StreamingHttpResponse:
        """The list as it is filtered, as CSV, a row after the other."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            rows = self.get_changelist_instance(request).get_queryset(request)
        except IncorrectLookupParameters as error:
            raise BadRequest(f"The filter is none of the list's: {error}") from error
        return StreamingHttpResponse(
            _lines(rows.iterator(chunk_size=CHUNK)),
            content_type="text/csv; charset=utf-8",
            headers={
                "Content-Disposition": 'attachment; filename="activations.csv"',
                "Cache-Control": "no-store",
            },
        )


def _lines(activations: Iterable[Activation]) -> Iterator[str]:
    yield cells.line(COLUMNS)
    for row in activations:
        yield cells.line(_cells(row))


def _cells(row: Activation) -> tuple[str | int | None, ...]:
    kind = "rolled back" if row.is_rollback else "activated"
    return (
        f"{row.at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        row.version.model.name,
        row.version.number,
        row.previous.number if row.previous else None,
        row.by_name or COMMAND_LINE,
        row.reason,
        f"{kind}, gate overridden" if row.overrode else kind,
        "; ".join(f"{each['outcome']}: {each['rule']}: {each['sentence']}" for each in row.gate),
    )
