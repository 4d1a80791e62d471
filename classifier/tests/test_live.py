"""The frames of a live camera: answered at once, and forgotten."""

import json
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries, Settings

from classifier import metrics
from classifier.api import catalogue
from classifier.models import ModelVersion, Prediction, Upload
from classifier.tests.bundles import picture

FRAME = "/live/frame/"


def send(client: Client, content: bytes, query: str = "") -> Any:
    return client.post(FRAME + query, content, content_type="image/jpeg")


def test_a_frame_is_answered_and_nothing_is_kept(client: Client, colours: ModelVersion) -> None:
    response = send(client, picture("blue", kind="JPEG"), "?model=colours")
    told = json.loads(response.content)
    assert response.status_code == 200
    assert (told["key"], told["label"], told["level"]) == ("blue", "Blue", "high")
    assert told["bars"][0]["name"] == "Blue"
    assert told["version"] == "Colours v1"
    assert told["total_ms"] >= told["inference_ms"] > 0
    assert not Upload.objects.exists()
    assert not Prediction.objects.exists()
    assert default_storage.listdir("") == ([], [])
    assert "visitor" not in response.cookies


def test_a_second_frame_costs_no_query(
    client: Client,
    colours: ModelVersion,
    settings: Settings,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    settings.ACTIVE_VERSION_POLL_SECONDS = 60.0
    catalogue.forget()
    send(client, picture())
    with django_assert_num_queries(0):
        assert send(client, picture()).status_code == 200
    catalogue.forget()


@pytest.mark.parametrize(
    ("content", "query", "status", "sentence"),
    [
        (b"hello", "", 415, "not a picture"),
        (b"", "", 400, "empty"),
        (bytes(1_000_001), "", 413, "1,000,000 bytes"),
        (picture(), "?model=nothing", 404, "model"),
    ],
)
def test_what_is_wrong_with_a_frame_is_said_in_json(
    client: Client, colours: ModelVersion, content: bytes, query: str, status: int, sentence: str
) -> None:
    response = send(client, content, query)
    assert response.status_code == status
    assert sentence in json.loads(response.content)["problem"]


@pytest.mark.django_db
def test_a_frame_from_another_site_is_refused() -> None:
    assert send(Client(enforce_csrf_checks=True), picture()).status_code == 403


@pytest.mark.django_db
def test_without_an_active_version_that_is_said(client: Client) -> None:
    catalogue.forget()
    response = send(client, picture())
    assert response.status_code == 503
    assert json.loads(response.content)["problem"]


def test_frames_are_counted_as_answers_are(client: Client, colours: ModelVersion) -> None:
    counted: list[tuple[str, ...]] = []
    original = metrics.predicted
    try:
        metrics.predicted = lambda *said: counted.append(said)
        send(client, picture())
    finally:
        metrics.predicted = original
    assert [said[2] for said in counted] == ["red"]


def test_only_the_cameras_page_may_use_the_camera(client: Client, colours: ModelVersion) -> None:
    response = client.get(reverse("pages:live"))
    assert response.headers["Permissions-Policy"].startswith("camera=(self)")
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    assert client.get(FRAME).status_code == 405
