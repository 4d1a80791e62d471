"""Who may what: docs/reference/roles.md says it, and this holds it true, address by address."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from http.cookies import SimpleCookie
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, Permission, User
from django.core.management import CommandError, call_command
from django.db import transaction
from django.http import HttpResponseBase
from django.test import Client
from django.urls import reverse
from ninja.operation import Operation

from classifier import access, roles
from classifier.api.callers import Bearer
from classifier.api.urls import api
from classifier.models import ModelVersion, Prediction, RoleGrant
from classifier.roles import Role
from classifier.tests.addresses import addresses, arguments, let_go, one_of_each
from classifier.tests.pasts import make_prediction

pytestmark = pytest.mark.django_db

TABLE = Path(settings.BASE_DIR) / "docs" / "reference" / "roles.md"
WHO = ("anyone", "signed in", "staff", *(role.value for role in Role), "superuser")
OWNER, NOBODY = "its owner", "nobody"


class Row(NamedTuple):
    """A line of the page's tables: an address, its method, the first who may."""

    name: str
    method: str
    who: str


def table(heading: str) -> list[Row]:
    """Return the rows under a heading of the page."""
    text = TABLE.read_text("utf-8")
    section = text.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    cells = re.findall(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \|", section, re.MULTILINE)
    return [Row(*(cell.strip() for cell in line)) for line in cells]


# Addresses


@pytest.fixture
def owner(db: None) -> User:
    return User.objects.create_user("owner")


@pytest.fixture
def things(colours: ModelVersion, owner: User) -> Mapping[str, object]:
    """One of everything that an address may name; the picture is the owner's."""
    return one_of_each(make_prediction(colours, owner=owner))


@pytest.fixture
def clients(owner: User) -> Mapping[str, Client]:
    """Somebody of every kind, and whom the picture belongs to, signed in."""
    made = {"anyone": Client(), OWNER: Client()}
    made[OWNER].force_login(owner)
    for who in WHO[1:]:
        user = User.objects.create_user(who.replace(" ", "-"), is_superuser=who == "superuser")
        user.is_staff = who != "signed in"
        user.save()
        if role := roles.named(who):
            roles.give(user, role)
        made[who] = Client()
        made[who].force_login(user)
    return made


def ask(client: Client, method: str, address: str) -> HttpResponseBase:
    """Ask, and take back whatever that did; who signs out is still signed in."""
    cookies = SimpleCookie({name: morsel.value for name, morsel in client.cookies.items()})
    with transaction.atomic():
        response: HttpResponseBase
        if method == "POST":
            response = client.post(address, {"label": "red", "reason": "a test"})
        else:
            response = client.get(address)
        let_go(response)
        transaction.set_rollback(True)
    client.cookies = cookies
    return response


def is_let_in(response: HttpResponseBase, name: str) -> bool:
    location = response.headers.get("Location", "")
    if location.startswith((reverse("login"), reverse("admin:login"))):
        return False
    # So the admin answers of a row that is not among those one may see.
    if name.endswith(("_change", "_delete", "_history")) and location == reverse("admin:index"):
        return False
    return response.status_code not in (401, 403, 404)


def test_the_page_names_every_address() -> None:
    written = {row.name for row in table("Pages") + table("Admin")}

    assert written == set(addresses())


def test_each_address_lets_in_whom_the_page_says(
    clients: Mapping[str, Client], things: Mapping[str, object]
) -> None:
    parameters = addresses()
    wrong = []
    for row in table("Pages") + table("Admin"):
        where = reverse(row.name, kwargs=arguments(row.name, parameters[row.name], things))
        for who, expected in expectations(row.who):
            response = ask(clients[who], row.method, where)
            if is_let_in(response, row.name) is not expected:
                wrong.append(f"{row}: {who} was answered {response.status_code}")
    assert not wrong


def expectations(written: str) -> Iterator[tuple[str, bool]]:
    """Yield who is let in and who is not, of whom "its owner, Admin" says it: at the border."""
    if written in (OWNER, NOBODY):
        yield WHO[-1], False
    for who in written.split(", "):
        if who == NOBODY:
            continue
        if who == OWNER:
            yield OWNER, True
            continue
        first = WHO.index(who)
        yield WHO[first], True
        if first:
            yield WHO[first - 1], False


def test_the_page_names_every_operation_of_the_api_with_its_scopes() -> None:
    written = {(row.name, row.method, row.who) for row in table("API")}

    assert written == set(_operations())


def _operations() -> Iterator[tuple[str, str, str]]:
    for prefix, router in api._routers:
        for path, view in router.path_operations.items():
            for operation in view.operations:
                if operation.include_in_schema:
                    whole = re.sub(r"\{\w+:", "{", f"/{prefix}{path}".replace("//", "/"))
                    yield whole, " ".join(operation.methods), _scopes(operation)


def _scopes(operation: Operation) -> str:
    (bearer,) = (getattr(each, "__self__", each) for each in operation.auth_callbacks)
    assert isinstance(bearer, Bearer)
    scopes = " or ".join(sorted(bearer.scopes))
    return f"{scopes}, or nobody in particular" if bearer.anonymous else scopes


# Groups


def permissions(group: str) -> set[str]:
    rows = Permission.objects.filter(group__name=group).select_related("content_type")
    return {f"{row.content_type.app_label}.{row.codename}" for row in rows}


def test_each_role_may_what_the_one_before_may_and_more() -> None:
    held = [permissions(role.value) for role in Role]

    assert all(less < more for less, more in pairwise(held))
    for role, added in roles.ADDED.items():
        assert set(added) <= permissions(role.value), role


def test_a_viewer_may_look_at_everything_and_nothing_else() -> None:
    held = permissions("Viewer")

    assert all(name.partition(".")[2].startswith("view_") for name in held)
    there = Permission.objects.filter(
        codename__startswith="view_", content_type__app_label__in=roles.VIEWED
    )
    assert len(held) == there.count() > 10


def test_what_an_admin_takes_away_stays_away_and_what_is_given_stays() -> None:
    group = Group.objects.get(name="Labeller")
    taken = Permission.objects.get(codename="export_labels")
    given = Permission.objects.get(codename="delete_upload")
    group.permissions.remove(taken)
    group.permissions.add(given)

    call_command("migrate", verbosity=0)

    assert "classifier.export_labels" not in permissions("Labeller")
    assert "classifier.delete_upload" in permissions("Labeller")
    assert "classifier.export_labels" in permissions("Trainer")


def test_a_permission_that_is_new_is_given_after_the_next_migration() -> None:
    RoleGrant.objects.filter(permission="classifier.change_gate").delete()
    group = Group.objects.get(name="Admin")
    group.permissions.remove(Permission.objects.get(codename="change_gate"))

    call_command("migrate", verbosity=0)

    assert "classifier.change_gate" in permissions("Admin")


def test_a_group_that_an_admin_deleted_is_not_made_again() -> None:
    Group.objects.filter(name="Trainer").delete()

    call_command("migrate", verbosity=0)

    assert not Group.objects.filter(name="Trainer").exists()
    with pytest.raises(roles.RoleMissing):
        roles.give(User.objects.create_user("bob"), Role.TRAINER)


@pytest.mark.django_db(transaction=True)
def test_an_emptied_database_has_its_roles_again() -> None:
    call_command("flush", interactive=False, verbosity=0)

    assert set(Group.objects.values_list("name", flat=True)) == set(Role)
    assert "classifier.override_gate" in permissions("Admin")


# People


def test_give_role_puts_a_person_in_one_role_and_into_the_admin(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bob = User.objects.create_user("bob")

    call_command("give_role", "bob", "labeller")
    call_command("give_role", "bob", "Admin")

    bob = User.objects.get(pk=bob.pk)
    assert (bob.is_staff, roles.of(bob)) == (True, Role.ADMIN)
    assert bob.groups.count() == 1
    assert bob.has_perm("classifier.override_gate")
    assert "bob is a Labeller now.\nbob is an Admin now.\n" in capsys.readouterr().out

    call_command("give_role", "bob", "none")
    bob = User.objects.get(pk=bob.pk)
    assert (bob.is_staff, roles.of(bob)) == (False, None)


@pytest.mark.parametrize(("name", "role"), [("nobody", "viewer"), ("bob", "boss")])
def test_give_role_refuses_what_there_is_not(name: str, role: str) -> None:
    User.objects.create_user("bob")

    with pytest.raises(CommandError) as refused:
        call_command("give_role", name, role)

    assert refused.value.returncode in (1, 2)


def change(client: Client, user: User, **fields: Any) -> HttpResponseBase:
    posted = {"username": user.username, "is_active": "on", "is_staff": "on"} | fields
    posted |= {"date_joined_0": "2026-11-21", "date_joined_1": "10:00"}
    address = reverse("admin:auth_user_change", args=[user.pk])
    answer: HttpResponseBase = client.post(address, posted)
    return answer


def test_an_admin_gives_roles_and_never_more_than_they_have(clients: Mapping[str, Client]) -> None:
    bob = User.objects.create_user("bob")
    powerful = Group.objects.create(name="Powerful")
    powerful.permissions.add(Permission.objects.get(codename="delete_group"))
    labeller = Group.objects.get(name="Labeller")

    every = list(Permission.objects.values_list("pk", flat=True))
    changed = change(
        clients["Admin"], bob, groups=[labeller.pk], is_superuser="on", user_permissions=every
    )
    assert changed.status_code == 302
    bob = User.objects.get(pk=bob.pk)
    assert (roles.of(bob), bob.is_superuser) == (Role.LABELLER, False)
    assert not bob.user_permissions.exists()

    refused = change(clients["Admin"], bob, groups=[powerful.pk])
    assert refused.status_code == 200
    assert not bob.groups.filter(name="Powerful").exists()


def test_an_admin_has_no_hand_on_who_may_more(clients: Mapping[str, Client]) -> None:
    root = User.objects.get(username="superuser")
    bob = User.objects.create_user("bob")
    bob.user_permissions.add(Permission.objects.get(codename="delete_group"))

    for user in (root, bob):
        assert change(clients["Admin"], user, is_active="").status_code == 403
        password = reverse("admin:auth_user_password_change", args=[user.pk])
        assert clients["Admin"].get(password).status_code == 403
        delete = reverse("admin:auth_user_delete", args=[user.pk])
        assert clients["Admin"].post(delete, {"post": "yes"}).status_code == 403
    assert User.objects.filter(is_active=True, pk__in=(root.pk, bob.pk)).count() == 2


@pytest.mark.parametrize("role", list(Role))
def test_a_tokens_scope_admin_is_for_the_role_admin(role: Role) -> None:
    bob = User.objects.create_user("bob")
    roles.give(bob, role)

    assert access.may_administer(User.objects.get(pk=bob.pk)) is (role is Role.ADMIN)


def test_a_viewer_sees_everybodys_pictures_and_deletes_none(
    clients: Mapping[str, Client], colours: ModelVersion, owner: User
) -> None:
    prediction = make_prediction(colours, owner=owner)
    address = reverse("pages:delete", args=[prediction.pk])

    assert clients["Viewer"].post(address).status_code == 403
    assert Prediction.objects.filter(pk=prediction.pk).exists()
    assert clients["Admin"].post(address).status_code == 302
    assert not Prediction.objects.filter(pk=prediction.pk).exists()
