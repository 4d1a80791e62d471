"""The admin's pages on learning: runs as they go, and the frozen sets of corrections."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import truncatechars
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from classifier.admin.base import ReadOnlyAdmin, badge, link, moment, thumbnail
from training import curves, descriptions
from training.models import DatasetSnapshot, Outcome, SnapshotPicture, TrainingRun

STATES = {
    "running": "warning",
    "finished": "active",
    "stopped": "quiet",
    "failed": "error",
    "crashed": "error",
    "stopped answering": "error",
}
SHOWN_OF_A_SNAPSHOT = 20  # pictures


class StateFilter(admin.SimpleListFilter):
    """The outcomes, and the runs that should be running and were not heard of for a while."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [*Outcome.choices, ("silent", "stopped answering")]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[TrainingRun]
    ) -> QuerySet[TrainingRun]:
        value = self.value()
        unheard = Q(pk__in=TrainingRun.objects.unheard().values("pk"))
        if value == "silent":
            return queryset.filter(unheard)
        if value == Outcome.RUNNING:
            return queryset.filter(~unheard, outcome=value)
        return queryset.filter(outcome=value) if value in Outcome.values else queryset


class SmokeFilter(admin.SimpleListFilter):
    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("full", "Trainings"), ("smoke", "Smoke runs")]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[TrainingRun]
    ) -> QuerySet[TrainingRun]:
        if self.value() not in ("full", "smoke"):
            return queryset
        return queryset.filter(smoke=self.value() == "smoke")


@admin.register(TrainingRun)
class TrainingRunAdmin(ReadOnlyAdmin[TrainingRun]):
    """Written by the process that trains; here one looks."""

    change_form_template = "admin/training/trainingrun/change_form.html"
    list_display = (
        "name",
        "state",
        "progress",
        "validation",
        "test",
        "dataset",
        "became",
        "started",
    )
    list_display_links = ("name",)
    list_filter = (StateFilter, SmokeFilter, "recipe", "dataset_name")
    list_select_related = ("version__model",)
    search_fields = ("recipe", "dataset_name", "folder")
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    fields = ("recipe",)
    ordering = ("-pk",)
    sortable_by = ()

    @admin.display(description="run")
    def name(self, obj: TrainingRun) -> SafeString:
        smoke = badge("smoke", "quiet") if obj.smoke else ""
        return format_html(
            '<span class="cm-nowrap">{}, seed {} {}</span>', obj.recipe, obj.seed, smoke
        )

    @admin.display(description="state")
    def state(self, obj: TrainingRun) -> SafeString:
        return format_html(
            '<span class="cm-nowrap" title="{}">{}</span>',
            obj.why,
            badge(obj.state, STATES[obj.state]),
        )

    @admin.display(description="progress")
    def progress(self, obj: TrainingRun) -> SafeString:
        return format_html('<span class="cm-nowrap">{}</span>', descriptions.progress(obj))

    @admin.display(description="validation")
    def validation(self, obj: TrainingRun) -> str:
        return descriptions.share(obj.validation_accuracy)

    @admin.display(description="test")
    def test(self, obj: TrainingRun) -> str:
        return descriptions.share(obj.test_accuracy)

    @admin.display(description="data set")
    def dataset(self, obj: TrainingRun) -> str:
        return truncatechars(obj.dataset_name, 30)

    @admin.display(description="version")
    def became(self, obj: TrainingRun) -> SafeString | str:
        if obj.version is None:
            return ""
        return link(obj.version, "admin:classifier_modelversion_change", obj.version.pk)

    @admin.display(description="started (UTC)")
    def started(self, obj: TrainingRun) -> SafeString | str:
        return moment(obj.started_at)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        run = self.get_object(request, object_id)
        context: dict[str, Any] = dict(extra_context or {})
        if run:
            context |= {
                "described": descriptions.of_row(run),
                "kind": STATES[run.state],
                "epochs": [descriptions.epoch(line) for line in run.history],
                "curves": curves.of_history(run.history),
            }
        return super().change_view(request, object_id, form_url, context)


@admin.register(DatasetSnapshot)
class DatasetSnapshotAdmin(ReadOnlyAdmin[DatasetSnapshot]):
    """Frozen: it can be looked at and trained on."""

    list_display = ("name", "model", "pictures", "made_by", "when")
    list_filter = ("model",)
    list_select_related = ("model",)
    fields = (
        "name",
        "model",
        "pictures",
        "labels",
        "gone",
        "left",
        "digest",
        "made_by",
        "when",
        "first",
    )
    show_facets = admin.ShowFacets.NEVER
    ordering = ("-pk",)
    sortable_by = ()

    @admin.display(description="pictures")
    def pictures(self, obj: DatasetSnapshot) -> str:
        return f"{obj.size:,}"

    @admin.display(description="labels")
    def labels(self, obj: DatasetSnapshot) -> SafeString:
        return _table(obj.counts)

    @admin.display(description="left out")
    def left(self, obj: DatasetSnapshot) -> SafeString | str:
        return _table(obj.left_out) if obj.left_out else "nothing"

    @admin.display(description="deleted since")
    def gone(self, obj: DatasetSnapshot) -> str:
        return f"{obj.pictures.filter(upload=None).count():,}"

    @admin.display(description="first pictures")
    def first(self, obj: DatasetSnapshot) -> SafeString:
        rows = format_html_join(
            "",
            '<tr><td>{}</td><td>{}</td><td class="cm-quiet">{}</td><td><code>{}…</code></td></tr>',
            (
                (_picture(row), row.label, row.get_how_display(), row.sha256[:16])
                for row in obj.pictures.order_by("pk")[:SHOWN_OF_A_SNAPSHOT]
            ),
        )
        return format_html('<table class="cm-table">{}</table>', rows)

    @admin.display(description="made by")
    def made_by(self, obj: DatasetSnapshot) -> str:
        return obj.created_by_name or "the command line"

    @admin.display(description="made (UTC)")
    def when(self, obj: DatasetSnapshot) -> SafeString | str:
        return moment(obj.created_at)


def _picture(row: SnapshotPicture) -> SafeString:
    return thumbnail(row.upload_id) if row.upload_id else badge("deleted", "quiet")


def _table(counts: dict[str, int]) -> SafeString:
    rows = format_html_join(
        "",
        '<tr><th scope="row">{}</th><td class="cm-number">{}</td></tr>',
        ((words, f"{count:,}") for words, count in counts.items()),
    )
    return format_html('<table class="cm-table">{}</table>', rows)
