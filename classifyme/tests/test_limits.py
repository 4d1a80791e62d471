import gzip
import io

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from pytest_django import Settings

from classifyme.middleware import RequestLimitMiddleware


def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{len(request.body)} bytes")


def test_a_body_within_the_limit_reaches_the_view() -> None:
    request = RequestFactory().post("/", b"x" * 1000, content_type="text/plain")
    assert RequestLimitMiddleware(view)(request).content == b"1000 bytes"


@pytest.mark.django_db
def test_a_body_over_the_limit_is_answered_413_in_words(settings: Settings) -> None:
    settings.REQUEST_MAX_BYTES, settings.API_BATCH_MAX_BYTES = 5_000, 6_000
    body = io.BytesIO(b"x" * 6_001)
    body.name = "large.jpg"
    response = Client().post("/", {"image": body})
    assert response.status_code == 413
    assert "is larger than" in response.content.decode()
    assert "Content-Security-Policy" in response.headers


@pytest.mark.django_db
@pytest.mark.parametrize("length", ["", "many", "-1"])
def test_a_length_that_is_no_number_is_not_a_crash(length: str) -> None:
    request = RequestFactory().generic("POST", "/", CONTENT_LENGTH=length)
    request.META["CONTENT_LENGTH"] = length
    assert RequestLimitMiddleware(lambda request: HttpResponse("ok"))(request).content == b"ok"


def test_a_page_is_sent_compressed_and_what_is_no_page_is_not(client: Client, db: None) -> None:
    headers = {"Accept-Encoding": "gzip"}

    page = client.get("/accounts/login/", headers=headers)
    other = client.get("/api/v1/openapi.json", headers=headers)

    assert page.headers["Content-Encoding"] == "gzip"
    assert b"Sign in" in gzip.decompress(page.content)
    assert other.status_code == 200
    assert "Content-Encoding" not in other.headers
