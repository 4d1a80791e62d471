"""Bundles in a storage that is no folder of this machine: kept, fetched, damaged, away."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile, File
from django.core.files.storage import InMemoryStorage
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from classifier import bundle_storage, registry, serving
from classifier.bundles import Bundle, BundleError
from classifier.models import ModelVersion, RegisteredModel
from classifier.registry import RegistryError
from classifier.tests.bundles import make_bundle
from classifier.tests.test_bundles import rewritten

pytestmark = pytest.mark.django_db


class CloudError(Exception):
    """What a storage's library raises: no OSError, no class that anybody knows."""


class FarStorage(InMemoryStorage):
    """Keeps files out of this machine's folders, counts what is asked of it, and fails if told."""

    def __init__(self) -> None:
        super().__init__(location="/far/away")
        self.opened: list[str] = []
        self.saved: list[str] = []
        self.away = False
        self.fails_after: int | None = None

    def open(self, name: str, mode: str = "rb") -> File[Any]:
        self._check()
        self.opened.append(name)
        return super().open(name, mode)

    def save(self, name: str | None, content: IO[Any], max_length: int | None = None) -> str:
        self._check()
        if self.fails_after is not None and len(self.saved) >= self.fails_after:
            raise CloudError("the connection broke")
        self.saved.append(str(name))
        return super().save(name, content, max_length)

    def exists(self, name: str) -> bool:
        self._check()
        return super().exists(name)

    def _check(self) -> None:
        if self.away:
            raise CloudError("nobody answers")

    def put(self, name: str, content: bytes) -> None:
        """Lay a file there behind everybody's back."""
        self.delete(name)
        super().save(name, ContentFile(content))

    def content(self, name: str) -> bytes:
        with super().open(name) as file:
            return bytes(file.read())


@pytest.fixture
def far(settings: Settings) -> Iterator[FarStorage]:
    settings.ACTIVE_VERSION_POLL_SECONDS = 0.0
    settings.STORAGES = {
        **settings.STORAGES,
        "bundles": {"BACKEND": f"{__name__}.{FarStorage.__name__}"},
    }
    serving.forget()
    storage = bundle_storage.storage()
    assert isinstance(storage, FarStorage)
    yield storage
    serving.forget()


def register(tmp_path: Path, *, activate: bool = False, **options: Any) -> ModelVersion:
    root = make_bundle(tmp_path / uuid4().hex, **options).root
    return registry.register(root, activate=activate)


def model_of(version: ModelVersion) -> RegisteredModel:
    return RegisteredModel.objects.get(pk=version.model_id)


def switch(version: ModelVersion) -> None:
    """Let a version be active without proving it, as another machine has done."""
    RegisteredModel.objects.filter(pk=version.model_id).update(active_version=version)


def forget_the_copy(version: ModelVersion) -> None:
    shutil.rmtree(version.bundle_root, ignore_errors=True)


def name_of(version: ModelVersion, path: str = "model.onnx") -> str:
    return f"{version.bundle_digest}/{path}"


# Keeping


def test_a_registered_bundle_is_kept_there_with_its_manifest_last(
    far: FarStorage, tmp_path: Path, settings: Settings
) -> None:
    version = register(tmp_path)

    assert far.saved[-1] == name_of(version, "manifest.json")
    paths = {file["path"] for file in version.manifest["files"]}
    assert {name_of(version, path) for path in paths} == set(far.saved[:-1])
    assert not list(settings.BUNDLES_ROOT.iterdir())


def test_what_is_kept_is_not_kept_twice(far: FarStorage, tmp_path: Path) -> None:
    register(tmp_path)
    saved = list(far.saved)

    register(tmp_path)

    assert far.saved == saved


def test_a_bundle_that_does_not_prove_itself_is_not_kept(far: FarStorage, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "broken")
    (bundle.root / "model.onnx").write_bytes(b"broken")

    with pytest.raises(RegistryError):
        registry.register(rewritten(bundle).root)

    assert far.saved == []


def test_a_half_kept_bundle_is_none_and_is_taken_up_again(far: FarStorage, tmp_path: Path) -> None:
    far.fails_after = 3
    with pytest.raises(RegistryError, match="CloudError: the connection broke") as caught:
        register(tmp_path)
    assert caught.value.code == "storage_failed"
    assert not ModelVersion.objects.exists()
    digest = far.saved[0].partition("/")[0]
    with pytest.raises(BundleError, match="there is no such file"):
        bundle_storage.fetch(digest, keep=frozenset)

    far.fails_after = None
    version = register(tmp_path, activate=True)

    assert version.bundle_digest == digest
    assert len(far.saved) == len(set(far.saved)) == 1 + len(version.manifest["files"])
    assert serving.active(version.model).version == version


def test_files_that_went_missing_are_put_back(far: FarStorage, tmp_path: Path) -> None:
    version = register(tmp_path)
    far.delete(name_of(version))
    far.put(name_of(version, "report/metrics.json"), b"cut off")

    assert register(tmp_path) == version

    forget_the_copy(version)
    version.fetch_bundle().verify()


def test_a_damaged_file_under_the_name_is_replaced(far: FarStorage, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    size = (bundle.root / "model.onnx").stat().st_size
    far.put(f"{bundle.digest}/model.onnx", bytes(size))

    version = registry.register(bundle.root, activate=True)

    assert far.content(name_of(version)) == (bundle.root / "model.onnx").read_bytes()
    _, files = far.listdir(bundle.digest)
    assert set(files) == {"manifest.json", "model.onnx"}


def test_a_storage_that_does_not_give_back_what_it_got_is_refused(
    far: FarStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_storage, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(FarStorage, "size", lambda self, name: 1)

    with pytest.raises(RegistryError, match="comes back as something else"):
        register(tmp_path)


# Serving


def test_it_is_fetched_once_and_served_from_this_machines_copy(
    far: FarStorage, tmp_path: Path, settings: Settings
) -> None:
    version = register(tmp_path, activate=True)
    far.opened.clear()

    first = serving.active(version.model)
    serving.forget()
    second = serving.active(version.model)

    assert first.bundle.root == settings.BUNDLE_CACHE / version.bundle_digest
    assert far.opened == [
        name_of(version, path)
        for path in ("manifest.json", *(file["path"] for file in version.manifest["files"]))
    ]
    assert second.predict(np.zeros((1, 32, 32, 3), np.uint8)).shape == (1, 3)


def test_what_was_fetched_serves_while_the_storage_is_away(far: FarStorage, tmp_path: Path) -> None:
    version = register(tmp_path, activate=True)
    serving.active(version.model)
    serving.forget()
    far.away = True

    assert serving.active(version.model).version == version


@pytest.mark.parametrize(
    "damage", ["change", "cut", "longer", "remove", "manifest", "no manifest", "away", "nonsense"]
)
def test_a_version_that_cannot_be_fetched_leaves_the_old_one_serving_and_says_why(
    far: FarStorage, tmp_path: Path, damage: str
) -> None:
    first = register(tmp_path, activate=True)
    second = register(tmp_path, seed=2)
    serving.active(first.model)
    content = far.content(name_of(second))
    if damage == "change":
        far.put(name_of(second), content[::-1])
    elif damage == "cut":
        far.put(name_of(second), content[:-1])
    elif damage == "longer":
        far.put(name_of(second), content + b"x")
    elif damage == "remove":
        far.delete(name_of(second))
    elif damage == "manifest":
        other = far.content(name_of(first, "manifest.json"))
        far.put(name_of(second, "manifest.json"), other)
    elif damage == "no manifest":
        far.delete(name_of(second, "manifest.json"))
    elif damage == "nonsense":
        far.put(name_of(second, "manifest.json"), b"\xff{")
    else:
        far.away = True
    switch(second)

    assert serving.active(model_of(first)).version == first

    second.refresh_from_db()
    assert second.serving_error
    assert not second.bundle_root.exists()


def test_a_version_that_cannot_be_fetched_is_not_activated(far: FarStorage, tmp_path: Path) -> None:
    first = register(tmp_path, activate=True)
    second = register(tmp_path, seed=2)
    far.put(name_of(second), far.content(name_of(second))[::-1])

    with pytest.raises(RegistryError, match=r"Expected model\.onnx with SHA-256"):
        registry.activate(second, by=None, reason="")

    assert model_of(first).active_version == first


def test_a_damaged_copy_is_fetched_again(far: FarStorage, tmp_path: Path) -> None:
    version = register(tmp_path, activate=True)
    serving.active(version.model)
    (version.bundle_root / "model.onnx").write_bytes(b"broken")
    serving.forget()

    assert serving.active(version.model).version == version
    version.refresh_from_db()
    assert version.serving_error == ""


def test_what_is_loaded_serves_on_when_its_files_are_gone_everywhere(
    far: FarStorage, tmp_path: Path
) -> None:
    version = register(tmp_path, activate=True)
    held = serving.active(version.model)
    forget_the_copy(version)
    for path in ("manifest.json", "model.onnx"):
        far.delete(name_of(version, path))

    assert serving.active(model_of(version)) is held
    assert held.predict(np.zeros((1, 32, 32, 3), np.uint8)).shape == (1, 3)


def test_the_active_and_the_loaded_versions_are_not_deleted_to_make_room(
    far: FarStorage, tmp_path: Path, settings: Settings
) -> None:
    settings.BUNDLE_CACHE_BYTES = 0
    active = register(tmp_path, seed=1, activate=True)
    loaded = register(tmp_path, seed=2)
    other = register(tmp_path, seed=3)
    for version in (active, loaded, other):
        version.fetch_bundle()
    held = serving.of(loaded)

    register(tmp_path, seed=4).fetch_bundle()

    assert active.bundle_root.exists()
    assert held.bundle.root.exists()
    assert not other.bundle_root.exists()


# Elsewhere


def test_the_admin_shows_the_report_without_fetching_the_bundle(
    far: FarStorage, tmp_path: Path
) -> None:
    version = register(tmp_path)
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    page = client.get(reverse("admin:classifier_modelversion_change", args=[version.pk]))
    curves = client.get(
        reverse("admin:classifier_modelversion_report", args=[version.pk, "report/curves.png"])
    )

    assert "Tells red from green and blue" in page.content.decode()
    assert curves.getvalue() == far.content(name_of(version, "report/curves.png"))
    assert not version.bundle_root.exists()
    far.away = True
    address = reverse("admin:classifier_modelversion_change", args=[version.pk])
    assert "nobody answers" in client.get(address).content.decode()


def test_a_storage_that_cannot_be_made_is_said(settings: Settings) -> None:
    settings.STORAGES = {**settings.STORAGES, "bundles": {"BACKEND": "nowhere.Storage"}}

    with pytest.raises(BundleError, match=r"Could not find backend 'nowhere\.Storage'"):
        bundle_storage.is_local()


def test_a_folder_of_this_machine_is_used_in_place(tmp_path: Path, settings: Settings) -> None:
    settings.STORAGES = {
        **settings.STORAGES,
        "bundles": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": str(tmp_path / "mounted")},
        },
    }
    version = register(tmp_path)

    bundle = version.fetch_bundle()

    assert bundle.root == tmp_path / "mounted" / version.bundle_digest
    assert isinstance(bundle, Bundle)
    assert not Path(settings.BUNDLE_CACHE).exists()
