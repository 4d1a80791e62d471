"""Registered models: what they are called, which version serves, how to go back."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from classifier import registry
from classifier.admin import policies
from classifier.admin.base import ModelAdmin, TabularInline, badge, link, person
from classifier.admin.switching import Switch, confirm
from classifier.models import Label, ModelVersion, RegisteredModel

RECENT = 10


class RegisteredModelForm(forms.ModelForm[RegisteredModel]):
    """Ticking *default* takes it from the model that has it; there is always one."""

    class Meta:
        model = RegisteredModel
        fields = ("title", "description", "is_default")

    def clean_is_default(self) -> bool:
        chosen: bool = self.cleaned_data["is_default"]
        if "is_default" in self.changed_data and not chosen:
            raise forms.ValidationError(
                "The front page needs a default model: tick it at another model instead."
            )
        return chosen

    def _get_validation_exclusions(self) -> set[str]:
        # The constraint "one default" is kept by moving it, in save_model.
        return {*super()._get_validation_exclusions(), "is_default"}  # type: ignore[misc]


class LabelForm(forms.ModelForm[Label]):
    """Who cannot see the row hears which label the field is of."""

    class Meta:
        model = Label
        fields = ("name",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "name" in self.fields:
            what = f"Display name of {self.instance.key}"
            self.fields["name"].widget.attrs["aria-label"] = what


class LabelInline(TabularInline[Label, RegisteredModel]):
    model = Label
    form = LabelForm
    template = "admin/classifier/labels.html"
    fields = ("key", "name")
    readonly_fields = ("key",)
    ordering = ("id",)
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("classifier.change_label")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True


@admin.register(RegisteredModel)
class RegisteredModelAdmin(ModelAdmin[RegisteredModel]):
    form = RegisteredModelForm
    change_form_template = "admin/classifier/registeredmodel/change_form.html"
    list_display = ("__str__", "name", "serves", "is_default", "number_of_versions")
    readonly_fields = ("name", "serves", "created_at")
    fields = ("name", "title", "description", "is_default", "serves", "created_at")
    inlines = (LabelInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[RegisteredModel]:
        rows = super().get_queryset(request).select_related("active_version")
        return rows.annotate(version_count=Count("versions"))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(
        self, request: HttpRequest, obj: RegisteredModel | None = None
    ) -> bool:
        return False

    def has_change_permission(
        self, request: HttpRequest, obj: RegisteredModel | None = None
    ) -> bool:
        """Whether anything of it may be changed: who names the labels need not change the rest."""
        may_name = request.user.has_perm("classifier.change_label")
        return may_name or super().has_change_permission(request, obj)

    def get_readonly_fields(
        self, request: HttpRequest, obj: RegisteredModel | None = None
    ) -> tuple[str, ...]:
        may_change = request.user.has_perm("classifier.change_registeredmodel")
        return tuple(self.readonly_fields if may_change else self.fields)

    def save_model(
        self, request: HttpRequest, obj: RegisteredModel, form: Any, change: bool
    ) -> None:
        if not request.user.has_perm("classifier.change_registeredmodel"):
            return
        if obj.is_default:
            RegisteredModel.objects.exclude(pk=obj.pk).update(is_default=False)
        super().save_model(request, obj, form, change)

    @admin.display(description="active version")
    def serves(self, obj: RegisteredModel) -> SafeString | str:
        version = obj.active_version
        if version is None:
            return badge("nothing serves", "warning")
        label = f"v{version.number} ({version.network})"
        page = link(label, "admin:classifier_modelversion_change", version.pk)
        if not version.serving_error:
            return page
        return format_html("{} {}", page, badge("does not load", "error"))

    @admin.display(description="versions", ordering="version_count")
    def number_of_versions(self, obj: Any) -> SafeString:
        versions = reverse("admin:classifier_modelversion_changelist")
        return format_html(
            '<a href="{}?model__id__exact={}">{}</a>', versions, obj.pk, obj.version_count
        )

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        model = self.get_object(request, object_id)
        if model is None:
            return super().change_view(request, object_id, form_url, extra_context)
        context: dict[str, Any] = {
            "rollback_target": self._rollback_target(request, model),
            "failed_versions": model.versions.exclude(serving_error=""),
            "recent_activations": model.activations.select_related(
                "version__model", "previous__model", "by"
            )[:RECENT],
        }
        return super().change_view(
            request, object_id, form_url, {**context, **(extra_context or {})}
        )

    def _rollback_target(self, request: HttpRequest, model: RegisteredModel) -> ModelVersion | None:
        if not request.user.has_perm("classifier.activate_modelversion"):
            return None
        return registry.rollback_target(model)

    def get_urls(self) -> list[URLPattern]:
        rollback = self.admin_site.admin_view(self.rollback_view)
        gate = self.admin_site.admin_view(self.gate_view)
        return [
            path("<int:model_id>/rollback/", rollback, name="classifier_registeredmodel_rollback"),
            path("<int:model_id>/gate/", gate, name="classifier_registeredmodel_gate"),
            *super().get_urls(),
        ]

    def gate_view(self, request: HttpRequest, model_id: int) -> HttpResponse:
        return policies.edit(request, self, model_id)

    def rollback_view(self, request: HttpRequest, model_id: int) -> HttpResponse:
        """Confirm, then put back the version that served before the active one."""
        if not request.user.has_perm("classifier.activate_modelversion"):
            raise PermissionDenied
        model = get_object_or_404(RegisteredModel, pk=model_id)
        back = reverse("admin:classifier_registeredmodel_change", args=[model.pk])
        target = registry.rollback_target(model)
        if target is None:
            messages.error(request, f"{model} has no version to go back to.")
            return HttpResponseRedirect(back)
        switch = Switch(
            title=f"Roll {model} back to v{target.number}?",
            button=f"Roll back to v{target.number}",
            model=model,
            chosen=target,
            perform=lambda reason, _: registry.rollback(model, by=person(request), reason=reason),
            back=back,
        )
        return confirm(request, self, switch)
