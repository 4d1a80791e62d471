"""The roles that people have here, what each may, and how a person gets one.

A role is a group of Django's with the permissions named below. The migration 0007 makes the groups;
`grant` gives them each permission once, after every migration that may have made new ones. What an
admin takes from a group afterwards, or gives it on top, stays as the admin wants it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from django.apps import apps as installed
from django.contrib.auth.models import Group
from django.db import transaction

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# Whose permissions roles have. A Viewer has every permission to view of the first two.
VIEWED = ("classifier", "training")
APPS = (*VIEWED, "auth", "django_tasks_database")


class Role(StrEnum):
    """The names of the groups; each may what the one before it may."""

    VIEWER = "Viewer"
    LABELLER = "Labeller"
    TRAINER = "Trainer"
    ADMIN = "Admin"


# What comes with each role on top of the one before.
ADDED: Mapping[Role, tuple[str, ...]] = {
    Role.VIEWER: (),
    Role.LABELLER: (
        "classifier.review_prediction",
        "classifier.change_label",
        "classifier.export_labels",
        "classifier.import_labels",
        "training.add_datasetsnapshot",
    ),
    Role.TRAINER: (
        "classifier.compare_versions",
        "classifier.add_modelversion",
        "training.start_trainingrun",
        "training.stop_trainingrun",
    ),
    Role.ADMIN: (
        "classifier.activate_modelversion",
        "classifier.override_gate",
        "classifier.change_gate",
        "classifier.change_modelversion",
        "classifier.change_registeredmodel",
        "classifier.change_upload",
        "classifier.delete_prediction",
        "classifier.delete_upload",
        "classifier.delete_goldenset",
        "training.delete_datasetsnapshot",
        "classifier.add_apitoken",
        "classifier.change_apitoken",
        "classifier.delete_apitoken",
        "auth.view_user",
        "auth.add_user",
        "auth.change_user",
        "auth.delete_user",
        "auth.view_group",
        "django_tasks_database.view_dbtaskresult",
    ),
}


class RoleMissing(Exception):
    """The role's group was deleted or renamed; `str()` is a sentence for a person."""


def named(word: str) -> Role | None:
    """Return the role of this name, however it is capitalised; None if there is none."""
    return next((role for role in Role if role.value.lower() == word.lower()), None)


def of(person: User) -> Role | None:
    """Return the highest of the person's roles."""
    names = set(person.groups.values_list("name", flat=True))
    return next((role for role in reversed(Role) if role.value in names), None)


def give(person: User, role: Role | None) -> None:
    """Put a person in this role and in no other; with None in none, and out of the admin site.

    A superuser stays in the admin site. Raises RoleMissing.
    """
    group = Group.objects.filter(name=role).first()
    if role is not None and group is None:
        sentence = f"There is no group {role} any more: make one with that name, or rename it back."
        raise RoleMissing(sentence)
    with transaction.atomic():
        person.groups.remove(*Group.objects.filter(name__in=list(Role)))
        if group is not None:
            person.groups.add(group)
        person.is_staff = group is not None or person.is_superuser
        person.save(update_fields=["is_staff"])


def permissions_of(role: Role, known: Mapping[str, Any]) -> list[str]:
    """Return what comes with a role, of the permissions `known` (app_label.codename)."""
    upto = list(Role)[: list(Role).index(role) + 1]
    named = {permission for each in upto for permission in ADDED[each]}
    return sorted(name for name in known if name in named or _is_viewing(name))


def _is_viewing(permission: str) -> bool:
    app, _, codename = permission.partition(".")
    return app in VIEWED and codename.startswith("view_")


def grant(using: str = "default", apps: Any = installed) -> None:
    """Give each role's group what comes with the role and was never given to it before.

    `apps` are those of a migration's end, where the tables may be fewer than the code's. A group
    that was deleted is not made again, unless nothing was ever granted (an emptied database).
    """
    try:
        grants = apps.get_model("classifier", "RoleGrant").objects.using(using)
    except LookupError:  # migrated back to before there were roles
        return
    known = _known(using, apps)
    given = set(grants.values_list("role", "permission"))
    for role in Role:
        new = [name for name in permissions_of(role, known) if (role.value, name) not in given]
        group = _group(role, using, apps, make=not any(each == role for each, _ in given))
        if group is None or not new:
            continue
        group.permissions.add(*(known[name] for name in new))
        grants.bulk_create(
            [grants.model(role=role.value, permission=name) for name in new], ignore_conflicts=True
        )


def _known(using: str, apps: Any) -> dict[str, int]:
    """Return the keys of the permissions that there are, by their names for has_perm."""
    rows = apps.get_model("auth", "Permission").objects.using(using)
    found = rows.filter(content_type__app_label__in=APPS)
    return {
        f"{app}.{codename}": key
        for key, app, codename in found.values_list("pk", "content_type__app_label", "codename")
    }


def _group(role: Role, using: str, apps: Any, *, make: bool) -> Any:
    groups = apps.get_model("auth", "Group").objects.using(using)
    if make:
        return groups.get_or_create(name=role.value)[0]
    return groups.filter(name=role.value).first()
