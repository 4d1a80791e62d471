"""Fixtures that several rooms' tests share."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from django.http import HttpResponse
from django.test import Client
from pytest_django import Settings

from classifier import registry, serving, visitors
from classifier.models import ModelVersion, RegisteredModel
from classifier.tests.bundles import make_bundle
from classifier.tests.cloudinary_server import CloudinaryServer, running_cloudinary


@pytest.fixture
def media_root(settings: Settings, tmp_path: Path) -> Path:
    """An empty folder that pictures are kept in."""
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.MEDIA_ROOT.mkdir()
    return tmp_path / "media"


@pytest.fixture
def cloudinary(media_root: Path, settings: Settings) -> Iterator[CloudinaryServer]:
    """A Cloudinary on this machine, configured as the cloud, with an empty folder here."""
    with running_cloudinary() as server:
        settings.STORAGES = {
            **settings.STORAGES,
            "cloud": {
                "BACKEND": "classifier.storage.CloudinaryStorage",
                "OPTIONS": server.options(),
            },
        }
        yield server


@pytest.fixture
def colours(db: None, tmp_path: Path) -> Iterator[ModelVersion]:
    """The active version of the default model: it tells red from green and blue pictures."""
    # Another test's model had the same number in a database that was rolled back since.
    serving.forget()
    bundle = make_bundle(tmp_path / "colours")
    version = registry.register(bundle.root, activate=True, reason="for a test")
    RegisteredModel.objects.update(is_default=True)
    yield ModelVersion.objects.select_related("model").get(pk=version.pk)
    serving.forget()


@pytest.fixture
def visitor(client: Client) -> UUID:
    """Somebody who uploaded before: the client has their cookie."""
    known, response = visitors.new(), HttpResponse()
    visitors.remember(response, known)
    client.cookies.update(response.cookies)
    return known
