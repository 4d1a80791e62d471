"""The page between wanting another version and having it: what serves, what will, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from classifier import gate
from classifier.admin import sheets
from classifier.bundles import BundleError
from classifier.models import Activation, ModelVersion, RegisteredModel
from classifier.registry import RegistryError

FRONT_PAGE = "index"


@dataclass(frozen=True)
class Switch:
    """One switch that a person was asked to confirm.

    ``perform`` takes the reason they gave and whether the gate is overridden. ``verdict`` is what
    the gate says, None of a rollback.
    """

    title: str
    button: str
    model: RegisteredModel
    chosen: ModelVersion
    perform: Callable[[str, bool], Activation]
    back: str
    verdict: gate.Verdict | None = None
    may_override: bool = False

    @property
    def is_refused(self) -> bool:
        return self.verdict is not None and not self.verdict.passes


class SwitchForm(forms.Form):
    """Why, and which version served when the person looked: the page may be an hour old."""

    reason = forms.CharField(
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 60, "autofocus": True}),
        help_text="Kept with your name and the time; nobody can change it later.",
    )
    override = forms.BooleanField(
        required=False,
        label="Override the gate",
        help_text="The rules that failed are kept with your name and the reason.",
    )
    # The page always carries what serves by now, so that a second look is at the truth.
    served = forms.UUIDField(required=False)
    # Where to go afterwards: the front page has buttons of its own.
    to = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, switch: Switch, posted: Any = None) -> None:
        self.switch = switch
        super().__init__(posted)
        if not (switch.is_refused and switch.may_override):
            del self.fields["override"]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if cleaned.get("served") != self.switch.model.active_version_id:
            raise forms.ValidationError(
                "Somebody switched the version meanwhile. Compare again with what serves now."
            )
        if self.switch.is_refused and not cleaned.get("override"):
            sentence = "The gate refuses this version"
            if self.switch.may_override:
                how = "to activate it all the same, override it below"
                raise forms.ValidationError(f"{sentence}: {how}.")
            raise forms.ValidationError(f"{sentence}, and you may not override it.")
        return cleaned


def confirm(request: HttpRequest, page: admin.ModelAdmin[Any], switch: Switch) -> HttpResponse:
    """Show the two versions side by side (GET); switch and go back with the outcome (POST)."""
    form = SwitchForm(switch, request.POST if request.method == "POST" else None)
    if form.is_valid():
        given = form.cleaned_data
        _switch(request, page, switch, given["reason"], override=bool(given.get("override")))
        to_front_page = given["to"] == FRONT_PAGE
        return HttpResponseRedirect(reverse("admin:index") if to_front_page else switch.back)
    active = switch.model.active_version
    context = {
        **page.admin_site.each_context(request),
        "title": switch.title,
        "opts": page.opts,
        "switch": switch,
        "findings": [each.to_json() for each in switch.verdict.findings] if switch.verdict else [],
        "active": active,
        "differences": sheets.side_by_side(
            active.manifest if active else None, switch.chosen.manifest
        ),
        "form": form,
    }
    return TemplateResponse(request, "admin/classifier/confirm_switch.html", context)


def _switch(
    request: HttpRequest,
    page: admin.ModelAdmin[Any],
    switch: Switch,
    reason: str,
    *,
    override: bool,
) -> None:
    try:
        activation = switch.perform(reason, override)
    except (RegistryError, BundleError) as error:
        switch.model.refresh_from_db()
        active = switch.model.active_version
        on = f" {active} goes on serving." if active else ""
        why = str(error).rstrip(".")
        messages.error(request, f"{switch.chosen} was not activated: {why}.{on}")
        return
    done = "Rolled back" if activation.is_rollback else "Activated"
    over = " over the gate" if activation.overrode else ""
    page.log_change(request, activation.version, f"{done}{over}: {reason}")
    messages.success(
        request, f"{activation.version} is active; every process serves it within two seconds."
    )
