"""What the admin's pages share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.options import Action, ActionLocation
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    class ModelAdmin[M: models.Model](admin.ModelAdmin[M]): ...

    class TabularInline[M: models.Model, P: models.Model](admin.TabularInline[M, P]): ...

    class _Paginator[M: models.Model](Paginator[M]): ...

else:  # Django's own classes take no type arguments at run time.

    class ModelAdmin[M](admin.ModelAdmin): ...

    class TabularInline[M, P](admin.TabularInline): ...

    class _Paginator[M](Paginator): ...


class ReadOnlyAdmin[M: models.Model](ModelAdmin[M]):
    """Rows that only use cases write: to be looked at, neither added, changed nor deleted."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        title = str(self.opts.verbose_name_plural).capitalize()
        return super().changelist_view(request, {"title": title, **(extra_context or {})})


class NewestPaginator[M: models.Model](_Paginator[M]):
    """Pages through the newest rows only: a table of millions is neither counted nor skipped."""

    limit = 2_000

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        if not isinstance(rows, models.QuerySet):
            return min(len(rows), self.limit)
        return rows[: self.limit].count()


class LongTableAdmin[M: models.Model](ReadOnlyAdmin[M]):
    """A read-only list of a table that grows with every picture.

    No "delete selected": "select all" would mean more rows than the list shows.
    """

    change_list_template = "admin/classifier/newest_change_list.html"
    list_per_page = 50
    list_max_show_all = 0
    ordering = ("-pk",)
    paginator = NewestPaginator
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    # Only the key has an index to sort by.
    sortable_by = ()

    def get_actions(
        self, request: HttpRequest, action_location: ActionLocation = ActionLocation.CHANGE_LIST
    ) -> dict[str, Action | None]:
        actions = super().get_actions(request, action_location)
        return {name: action for name, action in actions.items() if name != "delete_selected"}


def thumbnail(upload_id: UUID) -> SafeString:
    """Return a small picture of an upload, from the view that checks who asks."""
    return format_html(
        '<img class="cm-thumbnail" src="{}" alt="Picture" loading="lazy">',
        reverse("pages:thumbnail", args=[upload_id]),
    )


def moment(at: datetime | None) -> SafeString | str:
    """Return a time in UTC, short enough for a column; the column's title says UTC."""
    if at is None:
        return ""
    return format_html('<time class="cm-nowrap">{}</time>', f"{at.astimezone(UTC):%Y-%m-%d %H:%M}")


def badge(text: str, kind: str) -> SafeString:
    return format_html('<span class="cm-badge cm-badge-{}">{}</span>', kind, text)


def link(text: object, viewname: str, *args: Any) -> SafeString:
    return format_html('<a href="{}">{}</a>', reverse(viewname, args=args), text)


def person(request: HttpRequest) -> User:
    """Return who asks; the admin lets nobody else in."""
    if not request.user.is_authenticated:
        raise PermissionDenied
    return request.user
