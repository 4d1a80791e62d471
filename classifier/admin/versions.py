"""Model versions: what was measured of them, their report's pictures, and making one serve."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.options import ActionLocation
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.defaultfilters import truncatechars
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from classifier import gate, registry
from classifier.admin import comparing, sheets
from classifier.admin.asking import asks
from classifier.admin.base import ReadOnlyAdmin, badge, moment, person
from classifier.admin.made_of import made_of
from classifier.admin.switching import Switch, confirm
from classifier.bundles import BundleError
from classifier.comparing import chosen
from classifier.models import ModelVersion
from classifier.registry import RegistryError

EVERYWHERE = [ActionLocation.CHANGE_LIST, ActionLocation.CHANGE_FORM]
# What a browser may show in place; every other file of a report is downloaded.
REPORT_TYPES = {
    ".csv": "text/csv; charset=utf-8",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".md": "text/markdown; charset=utf-8",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
    ".webp": "image/webp",
}
MODEL_CARD = "report/model_card.md"
MODEL_CARD_BYTES = 100_000


class ArchivedFilter(admin.SimpleListFilter):
    title = "archived"
    parameter_name = "archived"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("no", "No"), ("yes", "Yes")]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[ModelVersion]
    ) -> QuerySet[ModelVersion]:
        if self.value() not in ("no", "yes"):
            return queryset
        return queryset.filter(archived_at__isnull=self.value() == "no")


@admin.register(ModelVersion)
class ModelVersionAdmin(ReadOnlyAdmin[ModelVersion]):
    change_form_template = "admin/classifier/modelversion/change_form.html"
    actions = ("compare", "activate", "archive", "unarchive")
    list_display = ("version", "state", "network", "accuracy", "registered")
    list_filter = ("model", ArchivedFilter, "architecture")
    list_select_related = ("model",)
    fields = ("number",)
    show_facets = admin.ShowFacets.NEVER

    @admin.display(ordering="number")
    def version(self, obj: ModelVersion) -> SafeString | str:
        return format_html("{} {}", obj, badge("smoke", "quiet")) if obj.is_smoke else str(obj)

    @admin.display(description="state")
    def state(self, obj: ModelVersion) -> SafeString | str:
        found = self._place(obj)
        if not obj.serving_error:
            return found
        why = truncatechars(obj.serving_error, 120)
        return format_html('{} <span class="cm-worse">{}</span>', found, why)

    def _place(self, obj: ModelVersion) -> SafeString | str:
        if obj.is_active:
            return badge("active", "error" if obj.serving_error else "active")
        if obj.archived_at is None:
            return ""
        return format_html("{} {}", badge("archived", "quiet"), moment(obj.archived_at))

    @admin.display(description="architecture", ordering="architecture")
    def network(self, obj: ModelVersion) -> str:
        return obj.network

    @admin.display(description="test accuracy", ordering="manifest__metrics__test__accuracy")
    def accuracy(self, obj: ModelVersion) -> str:
        share = sheets.number("accuracy", obj.test_accuracy)
        return share if obj.test_images is None else f"{share} of {obj.test_images:,}"

    @admin.display(description="registered (UTC)", ordering="registered_at")
    def registered(self, obj: ModelVersion) -> SafeString | str:
        return moment(obj.registered_at)

    def has_activate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("classifier.activate_modelversion")

    def has_archive_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("classifier.change_modelversion")

    def has_compare_permission(self, request: HttpRequest) -> bool:
        return comparing.may_compare(request)

    @admin.action(permissions=["compare"], description="Compare…")
    def compare(
        self, request: HttpRequest, queryset: QuerySet[ModelVersion]
    ) -> HttpResponse | None:
        return comparing.choose(request, list(queryset[: chosen.MOST + 1]))

    @admin.action(permissions=["activate"], description="Activate this version…")
    def activate(
        self, request: HttpRequest, queryset: QuerySet[ModelVersion]
    ) -> HttpResponse | None:
        """Lead to the page that asks; the list itself never switches."""
        chosen = list(queryset[:2])
        if len(chosen) == 1:
            return HttpResponseRedirect(_address("activate", chosen[0]))
        messages.error(request, "Choose exactly one version to activate.")
        return None

    @admin.action(permissions=["archive"], description="Archive", location=EVERYWHERE)
    @asks("Take these versions out of the choice?", "Archive")
    def archive(self, request: HttpRequest, queryset: QuerySet[ModelVersion]) -> None:
        self._each(request, queryset, registry.archive, "archived")

    @admin.action(permissions=["archive"], description="Unarchive", location=EVERYWHERE)
    def unarchive(self, request: HttpRequest, queryset: QuerySet[ModelVersion]) -> None:
        self._each(request, queryset, registry.unarchive, "back from the archive")

    def _each(
        self,
        request: HttpRequest,
        queryset: QuerySet[ModelVersion],
        use_case: Callable[[ModelVersion], None],
        outcome: str,
    ) -> None:
        for version in queryset:
            try:
                use_case(version)
            except RegistryError as error:
                messages.error(request, str(error))
            else:
                self.log_change(request, version, outcome.capitalize())
                messages.success(request, f"{version} is {outcome}.")

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        version = self.get_object(request, object_id)
        sheet = _sheet(version) if version else {}
        may_activate = self.has_activate_permission(request)
        context = {"sheet": sheet, "may_activate": may_activate, **(extra_context or {})}
        if version and not version.is_active and version.archived_at is None:
            context["verdict"] = verdict = gate.verdict_on(version)
            context["findings"] = [finding.to_json() for finding in verdict.findings]
        return super().change_view(request, object_id, form_url, context)

    def get_urls(self) -> list[URLPattern]:
        guard = self.admin_site.admin_view
        return [
            path(
                "<uuid:version_id>/activate/",
                guard(self.activate_view),
                name="classifier_modelversion_activate",
            ),
            path(
                "<uuid:version_id>/files/<path:name>",
                guard(self.report_view, cacheable=True),
                name="classifier_modelversion_report",
            ),
            *comparing.urls(self),
            *super().get_urls(),
        ]

    def activate_view(self, request: HttpRequest, version_id: UUID) -> HttpResponse:
        """Confirm, then let the version serve if it proves itself."""
        if not self.has_activate_permission(request):
            raise PermissionDenied
        version = get_object_or_404(self.get_queryset(request), pk=version_id)
        back = _address("change", version)
        if (refusal := _refusal(version)) is not None:
            messages.error(request, refusal)
            return HttpResponseRedirect(back)
        switch = Switch(
            title=f"Activate {version}?",
            button=f"Activate v{version.number}",
            model=version.model,
            chosen=version,
            perform=lambda reason, override: registry.activate(
                version, by=person(request), reason=reason, override=override
            ),
            back=back,
            verdict=gate.verdict_on(version),
            may_override=request.user.has_perm("classifier.override_gate"),
        )
        return confirm(request, self, switch)

    def report_view(self, request: HttpRequest, version_id: UUID, name: str) -> FileResponse:
        """Send one file of the version's report, found by its name in the manifest.

        The name is only ever compared with the manifest's, never joined to a path.
        """
        if not self.has_view_permission(request):
            raise PermissionDenied
        version = get_object_or_404(ModelVersion, pk=version_id)
        if name not in _report(version.manifest):
            raise Http404("This version's report has no such file.")
        try:
            opened = version.open_file(name)
        except BundleError as error:
            raise Http404(str(error)) from error
        content_type = REPORT_TYPES.get(PurePosixPath(name).suffix)
        return FileResponse(
            opened,
            as_attachment=content_type is None,
            filename=PurePosixPath(name).name,
            content_type=content_type or "application/octet-stream",
            headers={
                "Cache-Control": "private, max-age=3600",
                "X-Content-Type-Options": "nosniff",
            },
        )


def _address(page: str, version: ModelVersion) -> str:
    return reverse(f"admin:classifier_modelversion_{page}", args=[version.pk])


def _refusal(version: ModelVersion) -> str | None:
    if version.is_active:
        return f"{version} is active already."
    if version.archived_at:
        return f"{version} is archived: take it out of the archive first."
    return None


def _report(manifest: dict[str, Any]) -> list[str]:
    """Return the paths of the report's files in the bundle."""
    return [file["path"] for file in manifest["files"] if file["role"] == "report"]


def _sheet(version: ModelVersion) -> dict[str, Any]:
    """Return all that the version's page prints."""
    manifest = version.manifest
    return {
        "metrics": sheets.metrics(manifest),
        "per_class": sheets.per_class(manifest),
        "pictures": sheets.pictures(_report(manifest)),
        "made_of": made_of(version),
        "facts": sheets.facts(manifest),
        "files": manifest["files"],
        "model_card": _model_card(version),
    }


def _model_card(version: ModelVersion) -> str:
    """Return the model card as it stands in the bundle, or why it cannot be read."""
    if MODEL_CARD not in _report(version.manifest):
        return ""
    try:
        with version.open_file(MODEL_CARD) as opened:
            return opened.read(MODEL_CARD_BYTES).decode(errors="replace")
    except (BundleError, OSError) as error:
        return f"The bundle cannot be read: {error}"
