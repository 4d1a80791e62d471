"""Who somebody without an account is, and what becomes of what they sent when they sign in."""

from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import reverse
from pytest_django import Settings

from classifier import visitors
from classifier.models import ModelVersion, Upload
from classifier.tests.bundles import picture
from classifier.tests.pasts import make_prediction
from classifier.tests.test_pages import send


@pytest.fixture
def ada(db: None) -> User:
    return User.objects.create_user("ada", password="engine")


def sign_in(client: Client) -> None:
    response = client.post(reverse("login"), {"username": "ada", "password": "engine"})
    assert response.status_code == 302


def cookie_of(visitor: UUID) -> str:
    response = HttpResponse()
    visitors.remember(response, visitor)
    return response.cookies[visitors.COOKIE].value


def test_a_visitor_is_who_the_cookie_says() -> None:
    known = visitors.new()
    request = RequestFactory().get("/")
    request.COOKIES[visitors.COOKIE] = cookie_of(known)
    assert visitors.of(request) == known


@pytest.mark.parametrize("spoil", [lambda text: text[:-2], lambda text: "0" + text[1:]])
def test_a_cookie_that_was_tampered_with_is_nobodys(spoil: object) -> None:
    assert callable(spoil)
    request = RequestFactory().get("/")
    request.COOKIES[visitors.COOKIE] = spoil("f" + cookie_of(UUID(int=0xF << 124))[1:])
    assert visitors.of(request) is None


def test_a_cookie_signed_for_another_purpose_is_nobodys() -> None:
    response = HttpResponse()
    response.set_signed_cookie(visitors.COOKIE, str(visitors.new()), salt="something else")
    request = RequestFactory().get("/")
    request.COOKIES[visitors.COOKIE] = response.cookies[visitors.COOKIE].value
    assert visitors.of(request) is None


def test_looking_around_sets_no_visitor_cookie(client: Client, colours: ModelVersion) -> None:
    for name in ("pages:index", "pages:history", "login"):
        assert visitors.COOKIE not in client.get(reverse(name)).cookies


def test_a_refused_picture_sets_no_visitor_cookie(client: Client, colours: ModelVersion) -> None:
    assert visitors.COOKIE not in send(client, b"no picture").cookies


def test_the_first_upload_sets_a_cookie_that_scripts_cannot_read(
    client: Client, colours: ModelVersion
) -> None:
    cookie = send(client, picture()).cookies[visitors.COOKIE]
    assert cookie["httponly"] is True
    assert cookie["samesite"] == "Lax"
    assert cookie["max-age"] == visitors.MAX_AGE_SECONDS
    assert cookie["secure"] == ""


def test_behind_https_the_cookie_is_secure(
    client: Client, colours: ModelVersion, settings: Settings
) -> None:
    settings.SESSION_COOKIE_SECURE = True
    assert send(client, picture()).cookies[visitors.COOKIE]["secure"] is True


def test_a_second_upload_is_the_same_visitors(client: Client, colours: ModelVersion) -> None:
    send(client, picture())
    send(client, picture("blue"))
    first, second = Upload.objects.values_list("visitor", flat=True)
    assert first == second is not None


def test_an_upload_of_somebody_signed_in_is_theirs_and_needs_no_cookie(
    client: Client, colours: ModelVersion, ada: User
) -> None:
    client.force_login(ada)
    assert visitors.COOKIE not in send(client, picture()).cookies
    assert Upload.objects.get().owner == ada
    assert Upload.objects.get().visitor is None


def test_signing_in_claims_what_the_visitor_did_and_nobody_elses(
    client: Client, colours: ModelVersion, ada: User
) -> None:
    send(client, picture())
    mine = Upload.objects.get()
    strangers = make_prediction(colours, visitor=visitors.new()).upload
    sign_in(client)
    mine.refresh_from_db()
    strangers.refresh_from_db()
    assert (mine.owner, mine.visitor) == (ada, None)
    assert strangers.owner is None


def test_after_signing_out_a_claimed_picture_is_hidden_from_the_visitor(
    client: Client, colours: ModelVersion, ada: User
) -> None:
    shown = send(client, picture()).headers["Location"]
    sign_in(client)
    assert client.get(shown).status_code == 200
    client.post(reverse("logout"))
    assert client.get(shown).status_code == 404
    assert "Nothing here yet" in client.get(reverse("pages:history")).content.decode()
