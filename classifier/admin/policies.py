"""The activation gate of a model: what its policy asks, who changed it, from what to what."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from classifier import gate
from classifier.admin.base import ReadOnlyAdmin, moment, person
from classifier.models import GatePolicy, PolicyChange, RegisteredModel

RECENT = 20
LOOK, CHANGE = "classifier.view_gatepolicy", "classifier.change_gate"


class PolicyForm(forms.ModelForm[GatePolicy]):
    """The rules and why they are changed; all of it disabled for who may only look."""

    reason = forms.CharField(
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 2, "cols": 60}),
        label="Why",
        help_text="Kept with your name and the time; nobody can change it later.",
    )

    class Meta:
        model = GatePolicy
        fields = gate.RULES

    def __init__(self, policy: GatePolicy, posted: Any, *, may_change: bool) -> None:
        super().__init__(posted, instance=policy)
        if not may_change:
            del self.fields["reason"]
        for field in self.fields.values():
            field.disabled = not may_change


def edit(request: HttpRequest, page: admin.ModelAdmin[Any], model_id: int) -> HttpResponse:
    """Show a model's policy with its changes (GET); change it, and write down who did (POST)."""
    may_change = request.user.has_perm(CHANGE)
    if not may_change and (request.method == "POST" or not request.user.has_perm(LOOK)):
        raise PermissionDenied
    model = get_object_or_404(RegisteredModel, pk=model_id)
    posted = request.POST if request.method == "POST" else None
    form = PolicyForm(gate.policy_of(model), posted, may_change=may_change)
    if form.is_valid():
        _change(request, page, model, form.cleaned_data)
        return HttpResponseRedirect(request.path)
    context = {
        **page.admin_site.each_context(request),
        "title": f"Activation gate of {model}",
        "opts": page.opts,
        "model": model,
        "form": form,
        "may_change": may_change,
        "changes": [(row, differences(row)) for row in model.policy_changes.all()[:RECENT]],
        "back": reverse("admin:classifier_registeredmodel_change", args=[model.pk]),
    }
    return TemplateResponse(request, "admin/classifier/gate.html", context)


def _change(
    request: HttpRequest, page: admin.ModelAdmin[Any], model: RegisteredModel, given: dict[str, Any]
) -> None:
    reason = given.pop("reason")
    change = gate.change_policy(model, given, by=person(request), reason=reason)
    if change is None:
        messages.info(request, "Nothing was changed.")
        return
    page.log_change(request, model, f"Activation gate: {reason}")
    messages.success(request, f"The activation gate of {model} asks this from now on.")


def differences(change: PolicyChange) -> list[tuple[str, str, str]]:
    """Return (rule, before, after) of each rule that was changed."""
    return [
        (_title(name), _words(change.before.get(name)), _words(change.after.get(name)))
        for name in gate.RULES
        if change.before.get(name) != change.after.get(name)
    ]


def _title(name: str) -> str:
    titles = {field.name: str(field.verbose_name) for field in GatePolicy._meta.fields}
    return titles[name]


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not asked" if value is None else f"{value:g}"


@admin.register(PolicyChange)
class PolicyChangeAdmin(ReadOnlyAdmin[PolicyChange]):
    """Append-only: who changed what a model's versions must hold, and why."""

    list_display = ("when", "model", "what", "who", "reason")
    list_filter = ("model",)
    list_select_related = ("model",)
    fields = ("when", "model", "what", "who", "reason")
    show_facets = admin.ShowFacets.NEVER
    ordering = ("-pk",)
    sortable_by = ()

    @admin.display(description="when (UTC)")
    def when(self, obj: PolicyChange) -> SafeString | str:
        return moment(obj.at)

    @admin.display(description="by")
    def who(self, obj: PolicyChange) -> str:
        return obj.by_name or "the command line"

    @admin.display(description="change")
    def what(self, obj: PolicyChange) -> SafeString:
        return format_html_join("", "<div>{}: {} → {}</div>", differences(obj))
