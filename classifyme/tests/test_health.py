"""Alive, and ready: what is asked every second, by whom nobody knows."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as project
from django.db import OperationalError, connection
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from classifier import registry, serving
from classifier.models import ModelVersion, RegisteredModel
from classifier.tests.bundles import make_bundle


@pytest.fixture
def version(db: None, tmp_path: Path) -> Iterator[ModelVersion]:
    """An active version that this process has not loaded yet."""
    serving.forget()
    bundle = make_bundle(tmp_path / "colours")
    version = registry.register(bundle.root, activate=True, reason="for a test")
    serving.forget()
    yield version
    serving.forget()


def ready(client: Client) -> tuple[int, dict[str, Any]]:
    response = client.get("/readyz")
    assert response.headers["Content-Type"] == "application/json"
    assert "no-store" in response.headers["Cache-Control"]
    answer = json.loads(response.content)
    assert answer["ready"] == (response.status_code == 200)
    return response.status_code, answer["checks"]


def test_a_process_that_answers_is_alive_whatever_the_database_does(client: Client) -> None:
    # Without the mark for it, a test that asks the database fails.
    response = client.get("/healthz")
    assert (response.status_code, response.content) == (200, b"ok")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
@pytest.mark.django_db
def test_who_asks_the_process_itself_by_http_is_not_sent_to_https(
    client: Client, settings: Settings, path: str
) -> None:
    settings.SECURE_SSL_REDIRECT = True
    assert client.get("/").status_code == 301
    assert client.get(path).status_code == 200
    assert client.head(path).status_code == 200
    assert client.post(path).status_code == 405


@pytest.mark.django_db
def test_an_installation_without_models_is_ready_for_its_first(client: Client) -> None:
    serving.forget()
    status, checks = ready(client)
    assert status == 200
    assert checks == {part: {"ok": True} for part in ("database", "storage", "models")}


def test_asking_loads_what_shall_serve_and_is_cheap_from_then_on(
    client: Client,
    version: ModelVersion,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    assert ready(client)[0] == 200
    model = RegisteredModel.objects.get()
    loaded = serving.active(model)
    with django_assert_max_num_queries(2):
        assert ready(client)[0] == 200
    assert serving.active(model) is loaded


def test_a_version_that_cannot_be_loaded_makes_it_unready(
    client: Client, version: ModelVersion
) -> None:
    network = next(Path(project.BUNDLES_ROOT).rglob("model.onnx"))
    network.chmod(0o644)
    network.write_bytes(b"no network")
    status, checks = ready(client)
    assert status == 503
    assert checks["models"]["problem"].startswith("1 of 1 models cannot answer")
    assert checks["database"] == {"ok": True}


def test_a_database_that_is_away_makes_it_unready(client: Client, version: ModelVersion) -> None:
    def away(*arguments: Any) -> None:
        raise OperationalError('connection to "db.internal" as "secret" failed')

    with connection.execute_wrapper(away):
        status, checks = ready(client)
    assert status == 503
    assert not checks["database"]["ok"]
    assert not checks["models"]["ok"]
    assert checks["storage"] == {"ok": True}
    assert "secret" not in json.dumps(checks)


@pytest.mark.django_db
def test_a_folder_that_cannot_be_written_makes_it_unready(
    client: Client, settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    settings.MEDIA_ROOT = file
    status, checks = ready(client)
    assert status == 503
    assert checks["storage"] == {"ok": False, "problem": "Pictures cannot be kept."}


@pytest.mark.django_db
def test_a_folder_that_is_not_there_yet_is_made_when_it_is_needed(
    client: Client, settings: Settings, tmp_path: Path
) -> None:
    settings.MEDIA_ROOT = tmp_path / "not" / "yet"
    assert ready(client)[0] == 200
    assert list(tmp_path.iterdir()) == []


def test_no_answer_says_where_anything_is(
    client: Client, version: ModelVersion, settings: Settings, tmp_path: Path
) -> None:
    for network in Path(project.BUNDLES_ROOT).rglob("model.onnx"):
        network.unlink()
    (tmp_path / "file").touch()
    settings.MEDIA_ROOT = tmp_path / "file"
    said = client.get("/readyz").content.decode()
    assert str(tmp_path) not in said
    assert version.bundle_digest not in said
    assert version.model.name not in said
