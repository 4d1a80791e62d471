"""Accounts: who is in which role. Only superusers make superusers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.db.models import ManyToManyField, Q, QuerySet
from django.http import HttpRequest

from classifier.roles import Role

if TYPE_CHECKING:
    _UserAdmin = UserAdmin[User]
else:
    _UserAdmin = UserAdmin

# What only a superuser gives: with either of them one could give oneself everything.
_SUPERUSERS = ("is_superuser", "user_permissions")

admin.site.unregister(User)


@admin.register(User)
class PeopleAdmin(_UserAdmin):
    """As Django's, but that nobody gives, or changes who has, more than they may themselves."""

    list_display = ("username", "role", "is_staff", "is_superuser", "is_active", "last_login")
    list_filter = ("groups", "is_staff", "is_superuser", "is_active")
    show_facets = admin.ShowFacets.NEVER

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups")

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return _within_reach(request, obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return _within_reach(request, obj) and super().has_delete_permission(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        return fields if request.user.is_superuser else (*fields, *_SUPERUSERS)

    def formfield_for_manytomany(
        self, db_field: ManyToManyField[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> Any:
        if db_field.name == "groups" and not request.user.is_superuser:
            kwargs["queryset"] = _groups_within(request)
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    @admin.display(description="role")
    def role(self, obj: User) -> str:
        names = {group.name for group in obj.groups.all()}
        return next((role.value for role in reversed(Role) if role.value in names), "")


def _within_reach(request: HttpRequest, obj: User | None) -> bool:
    """Whether the account may do nothing that who asks may not: a password is a way in."""
    if obj is None or request.user.is_superuser:
        return True
    theirs = Permission.objects.filter(Q(user=obj) | Q(group__user=obj))
    return not obj.is_superuser and not (_names(theirs) - request.user.get_all_permissions())


def _groups_within(request: HttpRequest) -> QuerySet[Group]:
    """Return the groups that may nothing which who asks may not: those are theirs to give."""
    held = request.user.get_all_permissions()
    beyond = [key for key, name in _named(Permission.objects.all()) if name not in held]
    return Group.objects.exclude(permissions__in=beyond)


def _names(permissions: QuerySet[Permission]) -> set[str]:
    return {name for _, name in _named(permissions)}


def _named(permissions: QuerySet[Permission]) -> list[tuple[int, str]]:
    """Return the permissions' keys and their names as has_perm takes them."""
    rows = permissions.order_by().values_list("pk", "content_type__app_label", "codename")
    return [(key, f"{app}.{codename}") for key, app, codename in rows]
