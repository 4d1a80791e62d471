"""API tokens: made for a person, shown once, taken back."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.options import ActionLocation
from django.db import IntegrityError
from django.db.models import ForeignKey, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from classifier.access import ApiToken, StoredAnswer, TokenState, may_administer, new_secret
from classifier.admin.asking import asks
from classifier.admin.base import ModelAdmin, badge, moment, person

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# Whose requests these are, beside the API's callers.
FORMS = "admin:apitoken"
BADGES = {
    TokenState.VALID: "active",
    TokenState.EXPIRED: "quiet",
    TokenState.REVOKED: "quiet",
    TokenState.PERSON_INACTIVE: "warning",
}


_NOT_FOR_THEM = (
    "Only a superuser, or staff who may view, review and delete predictions, can have this scope."
)
_SENT_BEFORE = (
    "This form has made its token already. Its secret is not shown again: revoke the token and "
    "make another, by a form opened anew."
)


def _new_form_id() -> str:
    return secrets.token_urlsafe(16)


class ApiTokenForm(forms.ModelForm[ApiToken]):
    """A token that does not exist yet; each form makes one, however often it is sent."""

    form_id = forms.CharField(
        required=False, max_length=64, widget=forms.HiddenInput, initial=_new_form_id
    )

    class Meta:
        model = ApiToken
        fields = (
            *("person", "name"),
            *("may_predict", "may_read", "may_administer"),
            "expires_at",
        )

    def clean_form_id(self) -> str:
        form_id = str(self.cleaned_data["form_id"])
        if StoredAnswer.objects.filter(caller=FORMS, key=form_id).exists():
            raise forms.ValidationError(_SENT_BEFORE)
        return form_id

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        owner, expires_at = cleaned.get("person"), cleaned.get("expires_at")
        if cleaned.get("may_administer") and owner is not None and not may_administer(owner):
            self.add_error("may_administer", _NOT_FOR_THEM)
        if expires_at is not None and expires_at <= timezone.now():
            self.add_error("expires_at", "Choose a time to come, or none.")
        return cleaned


class SentTwice(Exception):
    """Of two sends of one form in the same instant this is the second: it makes no token."""


def _use_up(form_id: str, who: User) -> None:
    """Remember the form as a request that was carried out, for a day; it fails the second time.

    Raises SentTwice where another request used it up in the same moment.
    """
    try:
        StoredAnswer.objects.create(
            caller=FORMS, key=form_id, person=who, status=200, started_at=timezone.now()
        )
    except IntegrityError as error:
        raise SentTwice from error


@admin.register(ApiToken)
class ApiTokenAdmin(ModelAdmin[ApiToken]):
    """Who may make tokens makes them for themselves; for others only a superuser does."""

    form = ApiTokenForm
    actions = ("revoke",)
    list_display = ("name", "person", "begins", "scope_names", "now", "used", "created", "expires")
    list_select_related = ("person",)
    show_facets = admin.ShowFacets.NEVER
    shown = ("person", "name", "begins", "scope_names", "now", "used", "created", "expires")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        rows = ApiToken.objects.select_related("person")
        who = person(request)
        return rows if who.is_superuser else rows.of(who)

    def get_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> Any:
        return (*ApiTokenForm.Meta.fields, "form_id") if obj is None else self.shown

    def get_readonly_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> Any:
        return () if obj is None else self.shown

    def has_change_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        """A token that is out is never given more: make another."""
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("classifier.change_apitoken")

    def formfield_for_foreignkey(
        self, db_field: ForeignKey[Any], request: HttpRequest, **kwargs: Any
    ) -> Any:
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if field is not None and field.queryset is not None and db_field.name == "person":
            who = person(request)
            people = field.queryset.filter(is_active=True)
            field.queryset = people if who.is_superuser else people.filter(pk=who.pk)
            field.initial = who.pk
        return field

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().changelist_view(request, {"title": "API tokens", **(extra_context or {})})

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        buttons = {"show_save_and_continue": False, "show_save_and_add_another": False}
        try:
            return super().add_view(request, form_url, buttons | (extra_context or {}))
        except SentTwice:
            messages.error(request, _SENT_BEFORE)
            return HttpResponseRedirect(reverse("admin:classifier_apitoken_changelist"))

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        if form_id := form.cleaned_data["form_id"]:
            _use_up(form_id, person(request))
        secret = new_secret()
        obj.take_secret(secret)
        super().save_model(request, obj, form, change)
        # On this object alone, for the one answer that shows it.
        obj.shown_once = secret  # type: ignore[attr-defined]

    def response_add(
        self, request: HttpRequest, obj: ApiToken, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the secret now: not by a redirect, which would have to carry it in a cookie."""
        context = {
            **self.admin_site.each_context(request),
            "title": "API token made",
            "opts": self.opts,
            "token": obj,
            "secret": obj.shown_once,  # type: ignore[attr-defined]
        }
        return TemplateResponse(request, "admin/classifier/apitoken/made.html", context)

    @admin.action(
        permissions=["revoke"],
        description="Revoke",
        location=[ActionLocation.CHANGE_LIST, ActionLocation.CHANGE_FORM],
    )
    @asks("Take these tokens back for good?", "Revoke")
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        for token in queryset:
            if token.revoke():
                self.log_change(request, token, "Revoked.")
                messages.success(request, f"{token} is revoked, and opens nothing any more.")
            else:
                messages.info(request, f"{token} was revoked before.")

    @admin.display(description="begins with")
    def begins(self, obj: ApiToken) -> str:
        return f"{obj.start}…"

    @admin.display(description="scopes")
    def scope_names(self, obj: ApiToken) -> str:
        held = {
            "predict": obj.may_predict,
            "read": obj.may_read,
            "admin": obj.may_administer,
        }
        return ", ".join(name for name, is_held in held.items() if is_held)

    @admin.display(description="state")
    def now(self, obj: ApiToken) -> SafeString:
        state = obj.state(timezone.now())
        return badge(state.value, BADGES[state])

    @admin.display(description="last used (UTC)")
    def used(self, obj: ApiToken) -> SafeString | str:
        return moment(obj.last_used_at) or "never"

    @admin.display(description="made (UTC)", ordering="id")
    def created(self, obj: ApiToken) -> SafeString | str:
        return moment(obj.created_at)

    @admin.display(description="expires (UTC)", ordering="expires_at")
    def expires(self, obj: ApiToken) -> SafeString | str:
        return moment(obj.expires_at) or "never"
