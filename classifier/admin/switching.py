"""The page between wanting another version and having it: what serves, what will, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from classifier.admin import sheets
from classifier.bundles import BundleError
from classifier.models import Activation, ModelVersion, RegisteredModel
from classifier.registry import RegistryError


@dataclass(frozen=True)
class Switch:
    """One switch that a person was asked to confirm; ``perform`` takes the reason they gave."""

    title: str
    button: str
    model: RegisteredModel
    chosen: ModelVersion
    perform: Callable[[str], Activation]
    back: str


class SwitchForm(forms.Form):
    """Why, and which version served when the person looked: the page may be an hour old."""

    reason = forms.CharField(
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 60, "autofocus": True}),
        help_text="Kept with your name and the time; nobody can change it later.",
    )
    # The page always carries what serves by now, so that a second look is at the truth.
    served = forms.UUIDField(required=False)

    def __init__(self, switch: Switch, posted: Any = None) -> None:
        self.switch = switch
        super().__init__(posted)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if cleaned.get("served") != self.switch.model.active_version_id:
            raise forms.ValidationError(
                "Somebody switched the version meanwhile. Compare again with what serves now."
            )
        return cleaned


def confirm(request: HttpRequest, page: admin.ModelAdmin[Any], switch: Switch) -> HttpResponse:
    """Show the two versions side by side (GET); switch and go back with the outcome (POST)."""
    form = SwitchForm(switch, request.POST if request.method == "POST" else None)
    if form.is_valid():
        _switch(request, page, switch, form.cleaned_data["reason"])
        return HttpResponseRedirect(switch.back)
    active = switch.model.active_version
    context = {
        **page.admin_site.each_context(request),
        "title": switch.title,
        "opts": page.opts,
        "switch": switch,
        "active": active,
        "differences": sheets.side_by_side(
            active.manifest if active else None, switch.chosen.manifest
        ),
        "form": form,
    }
    return TemplateResponse(request, "admin/classifier/confirm_switch.html", context)


def _switch(request: HttpRequest, page: admin.ModelAdmin[Any], switch: Switch, reason: str) -> None:
    try:
        activation = switch.perform(reason)
    except (RegistryError, BundleError) as error:
        switch.model.refresh_from_db()
        active = switch.model.active_version
        on = f" {active} goes on serving." if active else ""
        why = str(error).rstrip(".")
        messages.error(request, f"{switch.chosen} was not activated: {why}.{on}")
        return
    done = "Rolled back" if activation.is_rollback else "Activated"
    page.log_change(request, activation.version, f"{done}: {reason}")
    messages.success(
        request, f"{activation.version} is active; every process serves it within two seconds."
    )
