"""Golden sets: the frozen pictures on which versions are compared."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from classifier.admin.base import ReadOnlyAdmin, moment
from classifier.models import GoldenSet


@admin.register(GoldenSet)
class GoldenSetAdmin(ReadOnlyAdmin[GoldenSet]):
    """Made on the page of a comparison; with a set goes what versions said of it."""

    list_display = ("called", "model", "pictures", "made_by", "when")
    list_filter = ("model",)
    list_select_related = ("model",)
    search_fields = ("name",)
    fields = ("called", "model", "pictures", "labels", "left", "since", "digest", "made_by", "when")
    show_facets = admin.ShowFacets.NEVER
    ordering = ("-pk",)
    sortable_by = ()

    def has_delete_permission(self, request: HttpRequest, obj: GoldenSet | None = None) -> bool:
        return request.user.has_perm("classifier.delete_goldenset")

    @admin.display(description="golden set")
    def called(self, obj: GoldenSet) -> str:
        return str(obj)

    @admin.display(description="pictures")
    def pictures(self, obj: GoldenSet) -> str:
        return f"{obj.size:,}"

    @admin.display(description="labels")
    def labels(self, obj: GoldenSet) -> SafeString:
        return _table(obj.counts)

    @admin.display(description="left out")
    def left(self, obj: GoldenSet) -> SafeString | str:
        return _table(obj.left_out) if obj.left_out else "nothing"

    @admin.display(description="made by")
    def made_by(self, obj: GoldenSet) -> str:
        return obj.created_by_name or "the command line"

    @admin.display(description="made (UTC)")
    def when(self, obj: GoldenSet) -> SafeString | str:
        return moment(obj.created_at)


def _table(counts: dict[str, int]) -> SafeString:
    rows = format_html_join(
        "",
        '<tr><th scope="row">{}</th><td class="cm-number">{}</td></tr>',
        ((words, f"{count:,}") for words, count in counts.items()),
    )
    return format_html('<table class="cm-table">{}</table>', rows)
