"""Dataset snapshots: made here from what people corrected, then frozen."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from classifier.admin.base import ReadOnlyAdmin, badge, moment, person, thumbnail
from classifier.models import RegisteredModel
from classifier.wording import counted
from training import snapshots
from training.admin import pages
from training.forms import SnapshotForm
from training.models import DatasetSnapshot, SnapshotPicture
from training.snapshots import SnapshotError

SHOWN_OF_A_SNAPSHOT = 20  # pictures


@admin.register(DatasetSnapshot)
class DatasetSnapshotAdmin(ReadOnlyAdmin[DatasetSnapshot]):
    """Frozen: it can be made, looked at and trained on."""

    change_form_template = "admin/training/datasetsnapshot/change_form.html"
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

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("training.add_datasetsnapshot")

    def has_delete_permission(
        self, request: HttpRequest, obj: DatasetSnapshot | None = None
    ) -> bool:
        return request.user.has_perm("training.delete_datasetsnapshot")

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show what a snapshot of ?model=NAME would hold, and make it."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        name = (request.POST.get("model") or request.GET.get("model", "")).replace("\0", "?")
        model = RegisteredModel.objects.filter(name=name).first()
        if model is None or request.method != "POST":
            return self._preview(request, model)
        form = SnapshotForm(request.POST)
        if not form.is_valid():
            return self._preview(request, model, form)
        try:
            made = snapshots.freeze(form.cleaned_data["name"], model, by=person(request))
        except SnapshotError as error:
            form.add_error("name", str(error))
            return self._preview(request, model, form)
        self.log_addition(request, made, "Frozen.")
        messages.success(request, f"{made} holds {counted(made.size, 'picture')}.")
        return pages.to("datasetsnapshot_change", made.pk)

    def _preview(
        self,
        request: HttpRequest,
        model: RegisteredModel | None,
        form: SnapshotForm | None = None,
    ) -> HttpResponse:
        preview = snapshots.preview(model) if model else None
        if form is None and preview:
            form = SnapshotForm(initial={"name": preview.name})
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Make a dataset snapshot",
            "models": RegisteredModel.objects.all(),
            "preview": preview,
            "form": form,
        }
        refused = request.method == "POST"
        page = "admin/training/datasetsnapshot/make.html"
        return render(request, page, context, status=422 if refused else 200)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        snapshot = self.get_object(request, object_id)
        context: dict[str, Any] = dict(extra_context or {})
        if snapshot and pages.may_start(request):
            chosen = urlencode({"dataset": f"{snapshots.PREFIX}{snapshot.name}"})
            start = reverse("admin:training_trainingrequest_add")
            context["train_url"] = f"{start}?{chosen}"
        return super().change_view(request, object_id, form_url, context)

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
