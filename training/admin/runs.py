"""Training runs: how each goes, live; stopping one and going on with one."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.defaultfilters import truncatechars
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_GET, require_POST

from classifier.admin.base import ReadOnlyAdmin, badge, link, moment, person
from training import descriptions, forms, live, requests
from training.admin import pages
from training.models import Outcome, TrainingRequest, TrainingRun
from training.requests import RequestRefused


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
    """Written by the process that trains; here one looks, stops it and lets it go on."""

    change_form_template = "admin/training/trainingrun/change_form.html"
    change_list_template = "admin/training/trainingrun/change_list.html"
    list_display = ("name", "started", "state", "test", "became", "dataset")
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
        progress = descriptions.progress(obj)
        is_said = obj.outcome != Outcome.FINISHED and progress != descriptions.DASH
        return format_html(
            '<span class="cm-nowrap" title="{}">{} {}</span>',
            obj.why,
            badge(obj.state, live.KINDS[obj.state]),
            progress if is_said else "",
        )

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

    def get_urls(self) -> list[URLPattern]:
        site = self.admin_site
        views = {
            "live": pages.live_view(site, self.live_view),
            "stop": site.admin_view(self.stop_view),
            "go_on": site.admin_view(self.go_on_view),
        }
        return [
            path(f"<uuid:pk>/{page.replace('_', '-')}/", view, name=f"training_trainingrun_{page}")
            for page, view in views.items()
        ] + super().get_urls()

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {"may_start": pages.may_start(request), **(extra_context or {})}
        return super().changelist_view(request, context)

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
            context |= self._sheet(request, run)
        return super().change_view(request, object_id, form_url, context)

    def _sheet(self, request: HttpRequest, run: TrainingRun) -> dict[str, Any]:
        wish = live.request_of(run)
        return {
            "described": descriptions.of_row(run),
            "epochs": [descriptions.epoch(line) for line in run.history],
            "live": live.of(run, wish),
            "live_url": reverse("admin:training_trainingrun_live", args=[run.pk]),
            "wish": wish,
            "reason": forms.on_a_page(_reason(run, wish)),
            "may_stop": wish and wish.is_open and pages.may_stop(request),
            "may_go_on": pages.may_start(request) and requests.may_go_on(run),
            **pages.worker_context(),
        }

    @method_decorator(require_GET)
    def live_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        run = get_object_or_404(TrainingRun, pk=pk)
        address = reverse("admin:training_trainingrun_live", args=[run.pk])
        return pages.fragment(request, live.of_run(run), address)

    @method_decorator(require_POST)
    def stop_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        if not pages.may_stop(request):
            raise PermissionDenied
        run = get_object_or_404(TrainingRun, pk=pk)
        wish = requests.open_request_of(run)
        if wish is None:
            messages.info(request, "Nobody works on it: there is nothing to stop.")
        else:
            pages.stop_or_cancel(request, wish, person(request))
            self.log_change(request, run, "Stopped.")
        return pages.to("trainingrun_change", run.pk)

    @method_decorator(require_POST)
    def go_on_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        if not pages.may_start(request):
            raise PermissionDenied
        run = get_object_or_404(TrainingRun, pk=pk)
        try:
            requests.go_on(run, register="register" in request.POST, by=person(request))
        except RequestRefused as refusal:
            messages.error(request, str(refusal))
        else:
            self.log_change(request, run, "Went on.")
            messages.success(request, "It goes on from its checkpoint when its turn comes.")
        return pages.to("trainingrun_change", run.pk)


def _reason(run: TrainingRun, wish: TrainingRequest | None) -> str:
    """Return why it is not finished: the request says it, unless a command came after that."""
    if wish and wish.ended_at and wish.ended_at >= (run.ended_at or wish.ended_at):
        return wish.reason or run.why
    return run.why
