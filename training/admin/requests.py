"""Requests to train: starting one, the line they wait in, what became of each."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.template.defaultfilters import truncatechars
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_GET, require_POST
from django_htmx.http import HttpResponseClientRedirect

from classifier.admin.base import ReadOnlyAdmin, badge, link, moment, person
from classifier.models import RegisteredModel
from training import descriptions, forms, live, recipe_words, requests
from training.admin import pages
from training.forms import StartForm
from training.models import TrainingRequest
from training.recipes.recipe import Recipe
from training.requests import RequestRefused

_WEIGHTS = {"": "the recipe's own", "none": "none: start at random"}


@admin.register(TrainingRequest)
class TrainingRequestAdmin(ReadOnlyAdmin[TrainingRequest]):
    """Made by a form of its own; changed by whoever works on it."""

    change_form_template = "admin/training/trainingrequest/change_form.html"
    change_list_template = "admin/training/trainingrequest/change_list.html"
    list_display = ("what", "state_badge", "data", "led_to", "asked_by", "asked")
    list_display_links = ("what",)
    list_filter = ("state", "recipe")
    list_select_related = ("run__version__model",)
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    fields = ("recipe",)
    ordering = ("-pk",)
    sortable_by = ()

    @admin.display(description="request")
    def what(self, obj: TrainingRequest) -> SafeString:
        smoke = badge("smoke", "quiet") if obj.smoke else ""
        return format_html('<span class="cm-nowrap">{} {}</span>', obj, smoke)

    @admin.display(description="state")
    def state_badge(self, obj: TrainingRequest) -> SafeString:
        shown = badge(obj.words, live.KINDS[obj.words])
        return format_html('<span class="cm-nowrap" title="{}">{}</span>', obj.reason, shown)

    @admin.display(description="data")
    def data(self, obj: TrainingRequest) -> str:
        return truncatechars(obj.dataset or "the recipe's own", 40)

    @admin.display(description="version")
    def led_to(self, obj: TrainingRequest) -> SafeString | str:
        version = obj.run.version if obj.run else None
        if version is None:
            return ""
        return link(version, "admin:classifier_modelversion_change", version.pk)

    @admin.display(description="asked by")
    def asked_by(self, obj: TrainingRequest) -> str:
        return obj.requested_by_name

    @admin.display(description="asked (UTC)")
    def asked(self, obj: TrainingRequest) -> SafeString | str:
        return moment(obj.requested_at)

    def has_view_permission(self, request: HttpRequest, obj: TrainingRequest | None = None) -> bool:
        # Whoever may look at runs may look at what becomes one.
        return request.user.has_perm("training.view_trainingrun")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return pages.may_start(request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[TrainingRequest]:
        # A list of fifty needs none of their logs.
        return super().get_queryset(request).defer("log")

    def get_urls(self) -> list[URLPattern]:
        return [
            path(
                "<uuid:pk>/live/",
                pages.live_view(self.admin_site, self.live_view),
                name="training_trainingrequest_live",
            ),
            path(
                "<uuid:pk>/stop/",
                self.admin_site.admin_view(self.stop_view),
                name="training_trainingrequest_stop",
            ),
            *super().get_urls(),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        waits = TrainingRequest.objects.open().exists()
        context = {"waits": waits, **pages.worker_context(), **(extra_context or {})}
        return super().changelist_view(request, context)

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the recipes; with ?recipe=NAME the form that starts one."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        name = request.POST.get("recipe") or request.GET.get("recipe", "")
        recipe = forms.recipe_named(name)
        if recipe is None:
            return self._choose_recipe(request, name)
        if request.method != "POST":
            given = {"dataset": request.GET.get("dataset", "")}
            return self._form(request, recipe, StartForm(recipe, initial=given))
        return self._start(request, recipe)

    def _start(self, request: HttpRequest, recipe: Recipe) -> HttpResponse:
        form = StartForm(recipe, request.POST)
        if not form.is_valid() or form.order is None:
            return self._form(request, recipe, form, status=422)
        try:
            made = requests.start(form.order, by=person(request))
        except RequestRefused as refusal:
            form.add_error(None, str(refusal))
            return self._form(request, recipe, form, status=422)
        self.log_addition(request, made, "Asked for.")
        return pages.to("trainingrequest_change", made.pk)

    def _choose_recipe(self, request: HttpRequest, unknown: str) -> HttpResponse:
        dataset = request.GET.get("dataset", "")
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Start training",
            # With data of one's own those recipes come first that are made for such.
            "recipes": sorted(
                recipe_words.described(), key=lambda each: bool(dataset and each.recipe.dataset)
            ),
            "dataset": dataset,
            "unknown": unknown,
            "resumable": requests.resumable(),
            **pages.worker_context(),
        }
        page = "admin/training/trainingrequest/choose.html"
        return render(request, page, context, status=404 if unknown else 200)

    def _form(
        self, request: HttpRequest, recipe: Recipe, form: StartForm, status: int = 200
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"Train {recipe.title}",
            "described": recipe_words.describe(recipe),
            "form": form,
            "models": RegisteredModel.objects.values_list("name", flat=True),
            **pages.worker_context(),
        }
        page = "admin/training/trainingrequest/start.html"
        return render(request, page, context, status=status)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        wish = self.get_object(request, object_id)
        if wish and wish.run_id and self.has_view_permission(request):
            return pages.to("trainingrun_change", wish.run_id)
        context: dict[str, Any] = dict(extra_context or {})
        if wish:
            context |= {
                "live": live.of(None, wish),
                "live_url": _live_url(wish),
                "asked_for": _facts(wish),
                "reason": forms.on_a_page(wish.reason),
                "may_stop": wish.is_open and pages.may_stop(request),
                **pages.worker_context(),
            }
        return super().change_view(request, object_id, form_url, context)

    @method_decorator(require_GET)
    def live_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        wish = get_object_or_404(TrainingRequest, pk=pk)
        if wish.run_id:
            run_page = reverse("admin:training_trainingrun_change", args=[wish.run_id])
            return HttpResponseClientRedirect(run_page)
        return pages.fragment(request, live.of(None, wish), _live_url(wish))

    @method_decorator(require_POST)
    def stop_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        if not pages.may_stop(request):
            raise PermissionDenied
        wish = get_object_or_404(TrainingRequest, pk=pk)
        pages.stop_or_cancel(request, wish, person(request))
        self.log_change(request, wish, "Stopped.")
        return pages.to("trainingrequest_change", wish.pk)


def _live_url(wish: TrainingRequest) -> str:
    return reverse("admin:training_trainingrequest_live", args=[wish.pk])


def _facts(wish: TrainingRequest) -> tuple[tuple[str, str], ...]:
    """Return what was asked for, in words."""
    rows = {
        "recipe": wish.recipe,
        "data": wish.dataset or "the recipe's own",
        "model": wish.model_name or "the recipe's, or that of the data",
        **({"title": wish.title} if wish.title else {}),
        "network": wish.architecture or "the recipe's own",
        "weights": _WEIGHTS.get(wish.weights, wish.weights),
        **({"group by": wish.group_by} if wish.group_by else {}),
        "seed": wish.seed,
        "smoke run": "yes" if wish.smoke else "no",
        "register the result": "yes" if wish.register else "no",
        **wish.changes,
        "asked by": wish.requested_by_name or "the command line",
        "asked": f"{wish.requested_at:%Y-%m-%d %H:%M:%S} UTC",
    }
    return descriptions.pairs(rows)
