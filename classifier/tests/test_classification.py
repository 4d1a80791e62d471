"""The use case: a picture comes in, an answer is recorded, the picture is kept; and deletion."""

import errno
import hashlib
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.db import DatabaseError, connection
from django_tasks_db.models import DBTaskResult
from PIL import Image
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from classifier import classification, imaging, registry, rows, serving, storage
from classifier.classification import classify, clean_filename
from classifier.imaging import opening
from classifier.models import ModelVersion, Prediction, RegisteredModel, StorageState, Upload
from classifier.runtimes import RuntimeFault
from classifier.tests.bundles import make_bundle
from classifier.tests.cloudinary_server import STALL, CloudinaryServer
from classifier.tests.pictures import encoded, oriented, scene

RED = encoded(Image.new("RGB", (60, 40), (210, 30, 40)), "JPEG")
VISITOR = uuid4()


@pytest.fixture(autouse=True)
def nothing_is_loaded(settings: Settings, tmp_path: Path) -> None:
    """Another test's models had the same numbers as this one's."""
    settings.BUNDLES_ROOT = tmp_path / "bundles"
    serving.forget()


@pytest.fixture
def version(db: None, media_root: Path, tmp_path: Path) -> ModelVersion:
    """An active version that knows red, green and blue, of the default model."""
    return registry.register(make_bundle(tmp_path / "colours").root, activate=True)


def send(content: bytes = RED, **fields: Any) -> Prediction:
    return classify(content, **{"filename": "red.jpg", "owner": None, "visitor": VISITOR, **fields})


def kept_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def answer_with(
    monkeypatch: pytest.MonkeyPatch, call: Callable[[Any], np.typing.NDArray[Any]]
) -> None:
    monkeypatch.setattr(serving.Served, "predict", lambda self, images: call(images))


# --- Classifying --------------------------------------------------------------------------------


def test_a_picture_is_answered_recorded_and_kept(version: ModelVersion, media_root: Path) -> None:
    prediction = send()
    prediction = Prediction.objects.select_related("upload").get(id=prediction.id)
    assert (prediction.label, prediction.version) == ("red", version)
    assert prediction.confidence == max(prediction.probabilities)
    assert prediction.ranked()[0] == ("red", prediction.confidence)
    assert sum(prediction.probabilities) == pytest.approx(1, abs=1e-5)
    manifest = version.parsed_manifest
    assert prediction.level == manifest.level("red", prediction.confidence)
    assert 0 < prediction.inference_ms < prediction.total_ms
    upload = prediction.upload
    assert (upload.filename, upload.media_type) == ("red.jpg", "image/jpeg")
    assert (upload.width, upload.height, upload.bytes) == (60, 40, len(RED))
    assert upload.original_sha256 == hashlib.sha256(RED).hexdigest() == upload.stored_sha256
    assert upload.storage_state == StorageState.KEPT
    assert [path.read_bytes() for path in kept_files(media_root)] == [RED]
    assert not DBTaskResult.objects.exists()


def test_a_large_picture_does_not_wait_for_others_for_ever(
    version: ModelVersion, media_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "LARGE_PIXELS", 2_000)
    monkeypatch.setattr(classification, "PATIENCE_SECONDS", 0.01)
    with opening.TURNS.turn(), pytest.raises(imaging.Busy):
        send()
    assert kept_files(media_root) == []
    assert send().label == "red"


def test_the_pictures_of_a_batch_have_so_many_pixels_together(
    version: ModelVersion, settings: Settings
) -> None:
    settings.IMAGE_MAX_PIXELS = 60 * 40
    served = classification.served_by(version=version)
    allowed = [RED] * classification.LARGEST_OF_A_BATCH
    classification.check_batch(served, [*allowed, b"no picture"])
    with pytest.raises(imaging.ImageError, match="megapixels together") as caught:
        classification.check_batch(served, [*allowed, RED])
    assert caught.value.code is imaging.ErrorCode.TOO_MANY_PIXELS


def test_the_size_recorded_is_the_upright_one(version: ModelVersion) -> None:
    prediction = send(oriented(scene(48, 32), "JPEG", 6))
    assert (prediction.upload.width, prediction.upload.height) == (48, 32)


def test_what_a_user_sends_is_theirs_and_not_the_visitors(version: ModelVersion) -> None:
    owner = User.objects.create_user("ada")
    upload = send(owner=owner).upload
    assert (upload.owner, upload.visitor) == (owner, None)
    upload = send().upload
    assert (upload.owner, upload.visitor) == (None, VISITOR)


def test_another_model_may_be_asked(version: ModelVersion, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "other", name="wrong", rotate=1)
    other = registry.register(bundle.root, activate=True)
    assert send(model=other.model).label == "green"
    assert send().label == "red"


def test_without_a_model_nothing_is_kept(db: None, media_root: Path) -> None:
    with pytest.raises(serving.NoActiveVersion):
        send()
    RegisteredModel.objects.create(name="empty", is_default=True)
    with pytest.raises(serving.NoActiveVersion):
        send()
    assert kept_files(media_root) == []


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "empty"), (b"not a picture", "not_an_image"), (RED[: len(RED) // 2], "truncated")],
)
def test_what_is_no_picture_is_refused_and_not_kept(
    version: ModelVersion, media_root: Path, content: bytes, code: str
) -> None:
    with pytest.raises(imaging.ImageError) as caught:
        send(content)
    assert caught.value.code == code
    assert kept_files(media_root) == []
    assert not Upload.objects.exists()


@pytest.mark.parametrize(
    ("limit", "code"),
    [("IMAGE_MAX_BYTES", "too_many_bytes"), ("IMAGE_MAX_PIXELS", "too_many_pixels")],
)
def test_the_limits_are_those_of_the_settings(
    version: ModelVersion, settings: Settings, limit: str, code: str
) -> None:
    setattr(settings, limit, 100)
    with pytest.raises(imaging.ImageError) as caught:
        send()
    assert caught.value.code == code


@pytest.mark.parametrize(
    "answer",
    [
        [[math.nan, 0.5, 0.5]],
        [[math.inf, 0.0, 0.0]],
        [[0.5, 0.5]],
    ],
)
def test_an_answer_that_is_no_probabilities_is_not_recorded(
    version: ModelVersion,
    media_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: list[list[float]],
) -> None:
    answer_with(monkeypatch, lambda images: np.array(answer, np.float32))
    with pytest.raises(classification.UnusableAnswer):
        send()
    assert kept_files(media_root) == []


def test_a_runtime_that_fails_is_a_sentence(
    version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(images: Any) -> np.typing.NDArray[Any]:
        raise RuntimeFault("out of memory")

    answer_with(monkeypatch, fail)
    with pytest.raises(classification.UnusableAnswer, match="failed on this picture"):
        send()


# --- Keeping ------------------------------------------------------------------------------------


class FullDisk(FileSystemStorage):
    """A disk without room."""

    def _save(self, name: str, content: Any) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_records_nothing(
    version: ModelVersion, settings: Settings, media_root: Path
) -> None:
    backend = f"{FullDisk.__module__}.{FullDisk.__qualname__}"
    settings.STORAGES = {**settings.STORAGES, "default": {"BACKEND": backend}}
    with pytest.raises(storage.StorageFull):
        send()
    assert not Upload.objects.exists()


def test_a_picture_whose_record_fails_is_not_left_behind(
    version: ModelVersion, media_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = rows.insert

    def refuse(row: Upload | Prediction) -> None:
        assert len(kept_files(media_root)) == 1
        if isinstance(row, Prediction):
            raise DatabaseError("the database is away")
        insert(row)

    monkeypatch.setattr(rows, "insert", refuse)
    with pytest.raises(DatabaseError, match="away"):
        send()
    assert kept_files(media_root) == []
    assert not Upload.objects.exists()


@pytest.mark.usefixtures("version")
def test_the_answer_does_not_wait_for_a_cloud_that_stalls(cloudinary: CloudinaryServer) -> None:
    cloudinary.broken = STALL
    prediction = send()
    assert cloudinary.requests == []
    upload = prediction.upload
    assert upload.storage_state == StorageState.WAITING
    task = DBTaskResult.objects.get()
    assert (task.task_path, task.queue_name) == ("classifier.tasks.carry_to_cloud", "default")
    assert task.args_kwargs == {"args": [str(upload.id)], "kwargs": {}}
    with storage.open_upload(upload) as picture:
        assert picture.read() == RED


@pytest.mark.usefixtures("version")
def test_the_task_is_there_only_if_the_record_is(
    cloudinary: CloudinaryServer, monkeypatch: pytest.MonkeyPatch, media_root: Path
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise DatabaseError("the queue is away")

    monkeypatch.setattr(DBTaskResult, "save", refuse)
    with pytest.raises(DatabaseError):
        send()
    assert not Upload.objects.exists()
    assert kept_files(media_root) == []


# --- Names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("cat.jpg", "cat.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\ada\\cat.jpg", "cat.jpg"),
        ("folder/", ""),
        ("", ""),
        ("a\x00b\r\nc\x1b[31m.jpg", "abc[31m.jpg"),
        ("photo\u202egpj.exe", "photogpj.exe"),
        ("\u2066cat\u2069\ufeff.jpg", "cat.jpg"),
        ("a\ud800b.jpg", "ab.jpg"),
        ("Cafe\u0301.jpg", "Caf\u00e9.jpg"),
        ("\u732b.jpg", "\u732b.jpg"),
        ("  cat.jpg ", "cat.jpg"),
        ("x" * 300, "x" * 255),
    ],
)
def test_a_file_name_is_made_safe(given: str, kept: str) -> None:
    assert clean_filename(given) == kept


@pytest.mark.usefixtures("version")
def test_the_picture_is_not_named_by_the_client(media_root: Path) -> None:
    upload = send(filename="../../../evil.html").upload
    assert upload.filename == "evil.html"
    assert upload.storage_key.endswith(".jpg")
    assert [path.suffix for path in kept_files(media_root)] == [".jpg"]


# --- Deleting -----------------------------------------------------------------------------------


def test_deleting_the_only_prediction_deletes_record_and_picture(
    version: ModelVersion,
    media_root: Path,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    prediction = send()
    with django_capture_on_commit_callbacks(execute=True):
        classification.delete(prediction)
    assert not Prediction.objects.exists()
    assert not Upload.objects.exists()
    assert kept_files(media_root) == []


def test_deleting_one_of_two_predictions_keeps_the_picture(
    version: ModelVersion,
    media_root: Path,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    first = send()
    values = Prediction.objects.filter(id=first.id).values().get()
    second = Prediction.objects.create(**{**values, "id": uuid4()})
    with django_capture_on_commit_callbacks(execute=True):
        classification.delete(first)
    assert Prediction.objects.get() == second
    assert len(kept_files(media_root)) == 1
    with django_capture_on_commit_callbacks(execute=True):
        classification.delete(second)
    assert not Upload.objects.exists()
    assert kept_files(media_root) == []


@pytest.mark.usefixtures("version")
def test_deleting_what_is_in_the_cloud_deletes_it_there(cloudinary: CloudinaryServer) -> None:
    prediction = send()
    upload = prediction.upload
    storage.cloud().save(upload.storage_key, ContentFile(RED))
    Upload.objects.update(storage_state=StorageState.CLOUD)
    DBTaskResult.objects.all().delete()
    classification.delete(Prediction.objects.get())
    task = DBTaskResult.objects.get()
    assert task.task.call(*task.args_kwargs["args"]) == "deleted"
    assert cloudinary.assets == {}


def test_deleting_twice_is_fine(version: ModelVersion) -> None:
    prediction = send()
    same = Prediction.objects.get(id=prediction.id)
    classification.delete(prediction)
    classification.delete(same)
    assert not Upload.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_who_delete_the_last_two_predictions_leave_no_upload(
    media_root: Path, tmp_path: Path
) -> None:
    registry.register(make_bundle(tmp_path / "colours").root, activate=True)
    first = send()
    values = Prediction.objects.filter(id=first.id).values().get()
    second = Prediction.objects.create(**{**values, "id": uuid4()})
    together = threading.Barrier(2)

    def delete(prediction: Prediction) -> None:
        together.wait(60)
        classification.delete(prediction)
        connection.close()

    threads = [threading.Thread(target=delete, args=(each,)) for each in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not Upload.objects.exists()
    assert kept_files(media_root) == []
