"""What happened: what was uploaded, what was said about it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat, truncatechars
from django.urls import URLPattern, path
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from classifier import carrying, classification, tasks
from classifier.admin import corrections
from classifier.admin.asking import asks
from classifier.admin.base import LongTableAdmin, badge, link, moment, thumbnail
from classifier.models import Label, ModelVersion, Prediction, Upload

SHOWN_OF_A_NAME = 30  # characters


class LabelFilter(admin.SimpleListFilter):
    """The labels there are, from their own short table instead of every prediction."""

    title = "label"
    parameter_name = "label"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(Label.objects.order_by("key").values_list("key", "key").distinct())

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Prediction]
    ) -> QuerySet[Prediction]:
        return queryset.filter(label=self.value()) if self.value() else queryset


class VersionFilter(admin.SimpleListFilter):
    """The versions with their models' titles, in one query."""

    title = "version"
    parameter_name = "version"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        versions = ModelVersion.objects.select_related("model").defer("manifest")
        return [(str(version.pk), str(version)) for version in versions]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Prediction]
    ) -> QuerySet[Prediction]:
        chosen = [UUID(str(key)) for key, _ in self.lookup_choices if key == self.value()]
        return queryset.filter(version__in=chosen) if self.value() else queryset


@admin.register(Prediction)
class PredictionAdmin(LongTableAdmin[Prediction]):
    change_form_template = "admin/classifier/prediction/change_form.html"
    actions = ("confirm",)
    list_display = (
        "picture",
        "label",
        "sureness",
        "correction",
        "version",
        "upload_link",
        "spent",
        "when",
    )
    list_display_links = ("picture", "label")
    list_filter = (LabelFilter, VersionFilter, corrections.CorrectedFilter)
    list_select_related = ("upload", "version__model")
    fields = ("picture", "answers", "sureness", "version", "upload_link", "spent", "when")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Prediction]:
        return Prediction.objects.with_correction().order_by(*self.ordering)

    @admin.display(description="correction")
    def correction(self, obj: Prediction) -> SafeString | str:
        return corrections.said(getattr(obj, "corrected_to", None), obj.label)

    def has_correct_permission(self, request: HttpRequest) -> bool:
        return corrections.may_correct(request)

    @admin.action(description="Confirm as right", permissions=["correct"])
    @asks("Confirm that these answers are right?", "Confirm as right")
    def confirm(self, request: HttpRequest, queryset: QuerySet[Prediction]) -> None:
        corrections.confirm_all(request, self, queryset.for_display())  # type: ignore[attr-defined]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        prediction = self.get_object(request, object_id)
        context: dict[str, Any] = dict(extra_context or {})
        if prediction:
            context["corrections"] = corrections.said_of(prediction)
        if prediction and corrections.may_correct(request):
            context["correction_form"] = corrections.CorrectionForm(prediction)
        return super().change_view(request, object_id, form_url, context)

    def get_urls(self) -> list[URLPattern]:
        return [
            path(
                "<uuid:prediction_id>/correct/",
                self.admin_site.admin_view(self.correct_view),
                name="classifier_prediction_correct",
            ),
            *super().get_urls(),
        ]

    def correct_view(self, request: HttpRequest, prediction_id: UUID) -> HttpResponse:
        return corrections.correct(request, self, prediction_id)

    @admin.display(description="picture")
    def picture(self, obj: Prediction) -> SafeString:
        return thumbnail(obj.upload_id)

    def has_delete_permission(self, request: HttpRequest, obj: Prediction | None = None) -> bool:
        return request.user.has_perm("classifier.delete_prediction")

    def delete_model(self, request: HttpRequest, obj: Prediction) -> None:
        classification.delete(obj)

    @admin.display(description="confidence")
    def sureness(self, obj: Prediction) -> SafeString:
        kinds = {"high": "active", "medium": "warning", "low": "error"}
        return format_html(
            '<span class="cm-nowrap">{} {}</span>',
            f"{obj.confidence:.1%}",
            badge(obj.level, kinds.get(obj.level, "quiet")),
        )

    @admin.display(description="time")
    def spent(self, obj: Prediction) -> SafeString:
        shown = f"{obj.inference_ms:.1f} of {obj.total_ms:.1f} ms"
        return format_html('<span class="cm-nowrap">{}</span>', shown)

    @admin.display(description="when (UTC)")
    def when(self, obj: Prediction) -> SafeString | str:
        return moment(obj.created_at)

    @admin.display(description="upload")
    def upload_link(self, obj: Prediction) -> SafeString:
        return link(
            truncatechars(str(obj.upload), SHOWN_OF_A_NAME),
            "admin:classifier_upload_change",
            obj.upload_id,
        )

    @admin.display(description="answers")
    def answers(self, obj: Prediction) -> SafeString:
        rows = format_html_join(
            "",
            '<tr><th scope="row">{}</th><td class="cm-number">{}</td></tr>',
            ((label, f"{probability:.2%}") for label, probability in obj.ranked()),
        )
        return format_html('<table class="cm-table">{}</table>', rows)


class GivenUpFilter(admin.SimpleListFilter):
    """The pictures that a cloud did not take and that wait for a person."""

    title = "way to the cloud"
    parameter_name = "carrying"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("given-up", "given up")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Upload]) -> QuerySet[Upload]:
        return queryset.filter(id__in=carrying.given_up()) if self.value() else queryset


@admin.register(Upload)
class UploadAdmin(LongTableAdmin[Upload]):
    """Deleting one takes its predictions and, once that is committed, its picture with it."""

    list_display = (
        "picture",
        "name",
        "sender",
        "media_type",
        "size",
        "storage_state",
        "when",
    )
    list_display_links = ("picture", "name")
    list_filter = (GivenUpFilter,)
    list_select_related = ("owner",)
    actions = ("carry_again",)
    fields = (
        "picture",
        "filename",
        "sender",
        "media_type",
        "size",
        "original_sha256",
        "stored_sha256",
        "storage_key",
        "storage_state",
        "storage_attempts",
        "storage_error",
        "when",
    )

    @admin.display(description="picture")
    def picture(self, obj: Upload) -> SafeString:
        return thumbnail(obj.pk)

    def has_delete_permission(self, request: HttpRequest, obj: Upload | None = None) -> bool:
        return request.user.has_perm("classifier.delete_upload")

    def has_carry_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("classifier.change_upload")

    @admin.action(description="Carry to the cloud again", permissions=["carry"])
    def carry_again(self, request: HttpRequest, queryset: QuerySet[Upload]) -> None:
        count = tasks.carry_again(queryset)
        none = "None of the chosen pictures was given up: nothing to carry again."
        some = f"Pictures on their way to the cloud again: {count}."
        level = messages.SUCCESS if count else messages.WARNING
        self.message_user(request, some if count else none, level)

    @admin.display(description="file name")
    def name(self, obj: Upload) -> str:
        return truncatechars(str(obj), SHOWN_OF_A_NAME)

    @admin.display(description="when (UTC)")
    def when(self, obj: Upload) -> SafeString | str:
        return moment(obj.created_at)

    @admin.display(description="from")
    def sender(self, obj: Upload) -> str:
        return str(obj.owner) if obj.owner_id else "a visitor"

    @admin.display(description="size")
    def size(self, obj: Upload) -> str:
        return f"{obj.width} by {obj.height}, {filesizeformat(obj.bytes)}"
