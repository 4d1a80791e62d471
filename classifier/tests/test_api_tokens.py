"""Who calls: tokens, what they open and for how long; and how they are made in the admin."""

import logging
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.db import IntegrityError
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from classifier.access import ApiToken, Scope, TokenState, digest_of, new_secret
from classifier.api import catalogue, tokens
from classifier.api.callers import address_of
from classifier.models import ModelVersion
from classifier.tests.api import ADMINS, PREDICTIONS, Program, code_of, permissions, program_of

ADD = reverse("admin:classifier_apitoken_add")
LIST = reverse("admin:classifier_apitoken_changelist")


@pytest.fixture(autouse=True)
def nothing_is_remembered() -> Iterator[None]:
    catalogue.forget()
    yield
    catalogue.forget()


@pytest.fixture
def ada(db: None) -> User:
    return User.objects.create_user("ada")


@pytest.fixture
def root(db: None) -> User:
    return User.objects.create_superuser("root")


def test_a_secret_is_recognised_and_never_kept(ada: User) -> None:
    secret = tokens.issue(ada, ["read"], name="a script")
    assert secret.startswith("cm_")
    assert len(secret) == 46
    token = ApiToken.objects.get()
    kept = {str(value) for value in ApiToken.objects.values().get().values()}
    assert secret not in kept
    assert token.digest == digest_of(secret)
    assert token.start == secret[:9]
    assert str(token) == "a script"
    assert token.scopes == {Scope.READ}
    assert secret != tokens.issue(ada, ["read"])


def test_a_token_without_a_scope_is_not_made(ada: User) -> None:
    with pytest.raises(ValueError, match="Expected at least one of predict, read, admin"):
        tokens.issue(ada, [])
    with pytest.raises(ValueError, match="'everything' is not a valid Scope"):
        tokens.issue(ada, ["everything"])
    with pytest.raises(IntegrityError):
        ApiToken.objects.create(person=ada, name="x", digest="x", may_predict=False)


def test_a_token_is_found_by_one_query(
    ada: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    secret = tokens.issue(ada, ["read"])
    with django_assert_num_queries(1):
        token = ApiToken.objects.find(secret)
        assert token is not None
        assert token.state(timezone.now()) is TokenState.VALID
        assert token.scopes
        assert token.person.username == "ada"
    assert ApiToken.objects.find(secret[:-1]) is None


@pytest.mark.parametrize(
    "header",
    [
        "Bearer cm_wrong",
        "Bearer",
        "Bearer ",
        "Basic YWRhOmFkYQ==",
        "cm_without_a_scheme",
        "Bearer " + "x" * 5000,
        "Bearer \x00",
        "Bearer é",
    ],
)
def test_a_wrong_token_is_never_taken_for_none(
    colours: ModelVersion, header: str, caplog: pytest.LogCaptureFixture
) -> None:
    program = Program()
    program.headers = {"Authorization": header}
    with caplog.at_level(logging.DEBUG):
        response = program.classify()
    assert (response.status_code, code_of(response)) == (401, "token_invalid")
    assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]
    assert header not in caplog.text
    is_bearer = header.lower().startswith("bearer")
    assert ("Expected `Authorization: Bearer" in response.json()["detail"]) != is_bearer


def test_the_scheme_is_read_in_any_case(ada: User) -> None:
    program = program_of(ada, "read")
    secret = program.headers["Authorization"].removeprefix("Bearer ")
    program.headers = {"Authorization": f"bearer {secret}"}
    assert program.get(PREDICTIONS).status_code == 200


def test_a_token_opens_nothing_once_revoked_or_expired(ada: User) -> None:
    program = program_of(ada, "read")
    token = ApiToken.objects.get()
    assert program.get(PREDICTIONS).status_code == 200
    ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert code_of(program.get(PREDICTIONS)) == "token_expired"
    ApiToken.objects.update(expires_at=timezone.now() + timedelta(hours=1))
    assert program.get(PREDICTIONS).status_code == 200
    assert token.revoke()
    assert not token.revoke()
    response = program.get(PREDICTIONS)
    assert (response.status_code, code_of(response)) == (401, "token_revoked")


def test_a_token_of_an_inactive_person_opens_nothing(ada: User) -> None:
    program = program_of(ada, "read")
    ada.is_active = False
    ada.save()
    assert code_of(program.get(PREDICTIONS)) == "token_revoked"


def test_its_last_use_is_written_down_once_a_minute(ada: User) -> None:
    program = program_of(ada, "read")
    program.get(PREDICTIONS)
    first = ApiToken.objects.get().last_used_at
    assert first is not None
    program.get(PREDICTIONS)
    assert ApiToken.objects.get().last_used_at == first
    ApiToken.objects.update(last_used_at=first - timedelta(minutes=2))
    program.get(PREDICTIONS)
    last = ApiToken.objects.get().last_used_at
    assert last is not None
    assert last >= first


def test_no_token_stands_in_the_log(
    colours: ModelVersion, ada: User, caplog: pytest.LogCaptureFixture
) -> None:
    program = program_of(ada)
    secret = program.headers["Authorization"].removeprefix("Bearer ")
    with caplog.at_level(logging.DEBUG):
        program.classify()
        program.get(f"{PREDICTIONS}/nothing")
        program.get(PREDICTIONS, limit=0)
    assert caplog.records
    assert secret not in caplog.text


# --- The scope admin ---------------------------------------------------------------------------


@pytest.mark.parametrize("lacking", ADMINS)
def test_the_scope_admin_counts_while_its_person_may_do_so_in_the_admin(
    ada: User, lacking: str
) -> None:
    ada.is_staff = True
    ada.save()
    program = program_of(ada, "admin")
    assert code_of(program.get(PREDICTIONS)) == "scope_missing"
    group = Group.objects.create(name="editors")
    group.permissions.set(permissions(lacking))
    ada.groups.add(group)
    ada.user_permissions.set(permissions(*ADMINS).exclude(codename=lacking))
    assert program.get(PREDICTIONS).status_code == 200
    group.permissions.clear()
    refused = program.get(PREDICTIONS)
    assert code_of(refused) == "scope_missing"
    assert "This one's scope admin is worth nothing now" in refused.json()["detail"]
    ada.is_superuser = True
    ada.save()
    assert program.get(PREDICTIONS).status_code == 200


def test_it_takes_one_query_and_none_without_it(
    root: User, ada: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    ada.is_staff = True
    ada.save()
    ada.user_permissions.set(permissions())
    for person, scope, queries in ((ada, "admin", 2), (ada, "read", 1), (root, "admin", 1)):
        secret = tokens.issue(person, [scope])
        with django_assert_num_queries(queries):
            token = ApiToken.objects.find(secret)
            assert token is not None
            assert Scope.READ in token.scopes


# --- The client's address -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trusted", "forwarded", "peer", "address"),
    [
        (False, "203.0.113.9", "192.0.2.1", "192.0.2.1"),
        (True, "203.0.113.9", "192.0.2.1", "203.0.113.9"),
        (True, "made up, 198.51.100.1, 203.0.113.9", "192.0.2.1", "203.0.113.9"),
        (True, "203.0.113.9:4711", "192.0.2.1", "203.0.113.9"),
        (True, "", "192.0.2.1", "192.0.2.1"),
        (False, "", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        (True, "[2001:db8:1:2:3:4:5:6]:4711", "192.0.2.1", "2001:db8:1:2::/64"),
        (False, "", "::ffff:192.0.2.1", "192.0.2.1"),
        (True, "nonsense", "192.0.2.1", ""),
        (False, "", "", ""),
    ],
)
def test_an_address_is_believed_from_a_trusted_proxy_alone(
    settings: Settings, trusted: bool, forwarded: str, peer: str, address: str
) -> None:
    settings.TRUST_PROXY = trusted
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    request = RequestFactory().get("/", REMOTE_ADDR=peer, headers=headers)
    assert address_of(request) == address


# --- The admin ----------------------------------------------------------------------------------


def form(person: User, **fields: Any) -> dict[str, Any]:
    return {"person": person.pk, "name": "a script", "may_read": "on", **fields}


def test_a_token_is_made_in_the_admin_and_shown_once(root: User, ada: User) -> None:
    browser = Client()
    browser.force_login(root)
    response = browser.post(ADD, form(ada))
    assert response.status_code == 200
    page = response.content.decode()
    secret = page.partition('id="secret">')[2].partition("<")[0]
    token = ApiToken.objects.get()
    assert token.person == ada
    assert ApiToken.objects.find(secret) == token
    assert "no-store" in response.headers["Cache-Control"]
    assert secret not in str(response.cookies)
    for path in (LIST, reverse("admin:classifier_apitoken_change", args=[token.pk])):
        later = browser.get(path).content.decode()
        assert secret not in later
        assert secret[:9] in later
    assert secret not in str(list(LogEntry.objects.values()))
    assert Program(secret).get(PREDICTIONS).status_code == 200


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"may_read": ""}, "Choose at least one scope."),
        ({"may_administer": "on"}, "Only a superuser, or staff who may"),
        ({"expires_at_0": "2020-01-01", "expires_at_1": "00:00"}, "Choose a time to come"),
    ],
)
def test_a_token_that_makes_no_sense_is_not_made(
    root: User, ada: User, fields: dict[str, str], sentence: str
) -> None:
    browser = Client()
    browser.force_login(root)
    response = browser.post(ADD, form(ada, **fields))
    assert sentence in response.content.decode()
    assert not ApiToken.objects.exists()


def test_a_form_that_is_sent_again_makes_no_second_token(root: User, ada: User) -> None:
    browser = Client()
    browser.force_login(root)

    def opened() -> dict[str, Any]:
        page = browser.get(ADD).content.decode()
        found = re.search(r'name="form_id" value="([^"]+)"', page)
        assert found is not None
        return form(ada, form_id=found[1])

    sent = opened()
    assert 'id="secret"' in browser.post(ADD, {**sent, "may_read": ""} | sent).content.decode()
    again = browser.post(ADD, sent)
    assert again.status_code == 200
    assert "This form has made its token already." in again.content.decode()
    assert ApiToken.objects.count() == 1
    assert 'id="secret"' in browser.post(ADD, opened()).content.decode()


def test_who_is_no_superuser_makes_and_sees_their_own_tokens_only(root: User, ada: User) -> None:
    ada.is_staff = True
    ada.save()
    names = [f"{verb}_apitoken" for verb in ("add", "change", "view")]
    ada.user_permissions.set(Permission.objects.filter(codename__in=names))
    tokens.issue(root, ["admin"], name="of root")
    browser = Client()
    browser.force_login(ada)
    assert "Select a valid choice" in browser.post(ADD, form(root)).content.decode()
    assert browser.post(ADD, form(ada)).status_code == 200
    assert ApiToken.objects.get(person=ada).name == "a script"
    assert "of root" not in browser.get(LIST).content.decode()
    theirs = ApiToken.objects.get(person=root)
    browser.post(LIST, {"action": "revoke", "_selected_action": [theirs.pk], "confirmed": "yes"})
    theirs.refresh_from_db()
    assert theirs.revoked_at is None


def test_a_token_is_revoked_in_the_admin(root: User, ada: User) -> None:
    program = program_of(ada, "read")
    token = ApiToken.objects.get()
    browser = Client()
    browser.force_login(root)
    response = browser.post(
        LIST, {"action": "revoke", "_selected_action": [token.pk], "confirmed": "yes"}, follow=True
    )
    assert "is revoked, and opens nothing any more." in response.content.decode()
    assert code_of(program.get(PREDICTIONS)) == "token_revoked"
    assert LogEntry.objects.get().change_message == "Revoked."


def test_a_token_is_never_given_more(root: User, ada: User) -> None:
    tokens.issue(ada, ["predict"])
    token = ApiToken.objects.get()
    browser = Client()
    browser.force_login(root)
    address = reverse("admin:classifier_apitoken_change", args=[token.pk])
    assert browser.post(address, form(ada, may_administer="on")).status_code == 403
    token.refresh_from_db()
    assert token.scopes == {Scope.PREDICT}


def test_a_user_with_tokens_can_be_deleted_in_the_admin(root: User, ada: User) -> None:
    tokens.issue(ada, ["predict"])
    browser = Client()
    browser.force_login(root)
    browser.post(reverse("admin:auth_user_delete", args=[ada.pk]), {"post": "yes"})
    assert not ApiToken.objects.exists()


def test_every_secret_is_another() -> None:
    assert len({new_secret() for _ in range(100)}) == 100
