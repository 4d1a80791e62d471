"""Corrections frozen into a data set: what is in it, that it stays so, and what training sees."""

import hashlib
import io
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from PIL import Image

from classifier import classification, corrections
from classifier.corrections import NONE_OF_THESE
from classifier.imaging import InputSpec
from classifier.models import ModelVersion, Prediction
from training import snapshots
from training.datasets import sources
from training.datasets.dataset import Dataset, DatasetError, DatasetMissing
from training.drawing import picture
from training.models import DatasetSnapshot, TrainingRun
from training.snapshots import SnapshotError

pytestmark = pytest.mark.django_db

LABELS = ("red", "green", "blue")


@pytest.fixture
def staff() -> User:
    return User.objects.create_user("ada", is_staff=True)


@pytest.fixture
def shown(colours: ModelVersion, staff: User) -> list[Prediction]:
    """Twenty-one pictures of three kinds, sent to the application, all of them corrected."""
    rng = np.random.default_rng(0)
    predictions = []
    for number in range(21):
        kind = number % 3
        prediction = send(picture(kind, 3, 40, rng), staff)
        corrections.correct(prediction, label=LABELS[kind], by=staff)
        predictions.append(prediction)
    return predictions


def send(pixels: Any, owner: User) -> Prediction:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return classification.classify(
        buffer.getvalue(), filename="photo.png", owner=owner, visitor=None
    )


def load(name: str, tmp_path: Path) -> Dataset:
    return sources.load(f"snapshot:{name}", root=tmp_path, input=InputSpec(32, 32))


def say(*words: str) -> str:
    out = io.StringIO()
    call_command(*words, stdout=out, no_color=True)
    return out.getvalue()


def test_it_freezes_the_latest_word_on_every_picture(shown: list[Prediction], staff: User) -> None:
    corrections.correct(shown[0], label="blue", by=staff)
    corrections.correct(shown[1], label=NONE_OF_THESE, by=staff)

    snapshot = snapshots.freeze("june", shown[0].version.model, by=staff)

    assert snapshot.counts == {"red": 6, "green": 6, "blue": 8}
    assert snapshot.left_out == {"none of these": 1}
    assert (snapshot.created_by, snapshot.created_by_name) == (staff, "ada")
    first = snapshot.pictures.get(upload=shown[0].upload)
    assert (first.label, first.sha256) == ("blue", shown[0].upload.stored_sha256)
    how = {row.upload_id: row.how for row in snapshot.pictures.all()}
    for prediction in shown[2:]:
        right = prediction.label == prediction.corrections.get().label
        assert how[prediction.upload_id] == ("confirmed" if right else "corrected")


def test_what_was_taken_back_is_not_in_it(shown: list[Prediction], staff: User) -> None:
    overruled = corrections.correct(shown[0], label="blue", by=staff)
    corrections.withdraw(overruled, by=staff)
    only = shown[1].correction()
    assert only is not None
    corrections.withdraw(only, by=staff)

    snapshot = snapshots.freeze("june", shown[0].version.model, by=staff)

    assert snapshot.counts == {"red": 7, "green": 6, "blue": 7}
    assert snapshot.pictures.get(upload=shown[0].upload).label == "red"
    assert not snapshot.pictures.filter(upload=shown[1].upload).exists()


def test_later_corrections_do_not_change_it(
    shown: list[Prediction], staff: User, tmp_path: Path
) -> None:
    model = shown[0].version.model
    frozen = snapshots.freeze("june", model)
    before = load("june", tmp_path).digest
    corrections.correct(shown[0], label="blue", by=staff)

    assert load("june", tmp_path).digest == before
    assert DatasetSnapshot.objects.get().digest == frozen.digest
    assert snapshots.freeze("july", model).digest != frozen.digest
    with pytest.raises(TypeError, match="frozen"):
        frozen.save()
    with pytest.raises(TypeError, match="frozen"):
        frozen.pictures.all()[0].save()


def test_training_sees_the_stored_pictures_under_their_corrected_labels(
    shown: list[Prediction], tmp_path: Path
) -> None:
    snapshots.freeze("june", shown[0].version.model)
    dataset = load("june", tmp_path)

    assert dataset.label_keys == ("blue", "green", "red")
    assert dataset.validation is not None
    splits = [dataset.train, dataset.validation, dataset.test]
    assert sum(map(len, splits)) == 21
    assert all(set(split.labels) == {0, 1, 2} for split in splits)
    assert dataset.train.images[:4].shape == (4, 32, 32, 3)


def test_a_picture_that_its_owner_deleted_is_skipped_and_counted(
    shown: list[Prediction], tmp_path: Path
) -> None:
    snapshots.freeze("june", shown[0].version.model)
    classification.delete(shown[0])

    dataset = load("june", tmp_path)

    assert [skipped.kind for skipped in dataset.skipped] == ["deleted"]
    assert "deleted the picture" in dataset.skipped[0].reason
    assert DatasetSnapshot.objects.get().pictures.filter(upload=None).count() == 1


def test_a_picture_that_was_exchanged_on_the_disk_is_not_trained_on(
    shown: list[Prediction], tmp_path: Path, settings: Any
) -> None:
    snapshots.freeze("june", shown[0].version.model)
    path = Path(settings.MEDIA_ROOT) / shown[0].upload.storage_key
    path.write_bytes((Path(settings.MEDIA_ROOT) / shown[1].upload.storage_key).read_bytes())

    (skipped,) = load("june", tmp_path).skipped
    assert "is not the one that was corrected" in skipped.reason
    with pytest.raises(DatasetError, match="cannot be read, more than the 0%"):
        sources.load(
            "snapshot:june", root=tmp_path, input=InputSpec(32, 32),
            options=sources.SourceOptions(max_bad=0.0),
        )  # fmt: skip


def test_the_same_picture_sent_twice_is_one_and_the_later_word_counts(
    colours: ModelVersion,
    staff: User,
) -> None:
    pixels = picture(0, 3, 40, np.random.default_rng(0))
    first, second = send(pixels, staff), send(pixels, staff)
    corrections.correct(second, label="green", by=staff)
    corrections.correct(first, label="red", by=staff)

    snapshot = snapshots.freeze("june", colours.model)

    (row,) = snapshot.pictures.all()
    assert (row.label, row.sha256) == ("red", first.upload.stored_sha256)
    assert snapshot.left_out == {"overruled by a later correction": 1}
    assert row.sha256 == hashlib.sha256(corrections.picture(first.upload) or b"").hexdigest()


def test_what_cannot_be_frozen_is_said(
    shown: list[Prediction],
    colours: ModelVersion,
) -> None:
    snapshots.freeze("june", colours.model)
    for name, sentence in (("june", "already"), ("June 1", "lower-case"), ("x" * 65, "at most 64")):
        with pytest.raises(SnapshotError, match=sentence):
            snapshots.freeze(name, colours.model)


def test_without_corrections_there_is_nothing_to_freeze(
    colours: ModelVersion,
) -> None:
    with pytest.raises(SnapshotError, match="Nobody has corrected"):
        snapshots.freeze("june", colours.model)


def test_a_snapshot_that_there_is_not_is_named_with_those_that_are(
    shown: list[Prediction], tmp_path: Path
) -> None:
    snapshots.freeze("june", shown[0].version.model)
    with pytest.raises(DatasetMissing, match=r"there are: june\). Received: july"):
        load("july", tmp_path)


@pytest.mark.django_db(transaction=True)
def test_what_people_corrected_becomes_the_next_version(
    shown: list[Prediction], settings: Any, tmp_path: Path
) -> None:
    settings.RUNS_ROOT = tmp_path / "runs"
    model = shown[0].version.model
    snapshots.freeze("june", model)
    classification.delete(shown[0])

    printed = say("train", "baseline_cnn", "--dataset", "snapshot:june", "--smoke", "--register")

    assert "Files left out: 1 deleted" in printed
    newest = model.versions.get(number=2)
    assert newest.manifest["dataset"]["name"] == "snapshot:june"
    assert newest.manifest["recipe"]["origin"]["dataset"] == "snapshot:june"
    run = TrainingRun.objects.get()
    assert (run.version, run.dataset_name) == (newest, "snapshot:june")
    assert sum(run.counts.values()) == 20


# -- the command and the admin ---------------------------------------------------------------------


def test_the_command_freezes_and_says_how_to_train_on_it(shown: list[Prediction]) -> None:
    printed = say("snapshot_corrections", "june", "--model", "colours", "--by", "ada")
    assert "june: 21 pictures of Colours" in printed
    assert "--dataset snapshot:june" in printed
    assert DatasetSnapshot.objects.get().created_by_name == "ada"
    assert "june  colours  21" in say("snapshot_corrections", "--list")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["june"], "Expected a name and --model"),
        (["june", "--model", "cars"], r"there are: colours"),
        (["june", "--model", "colours"], "Nobody has corrected"),
        (["june", "--model", "colours", "--by", "nobody"], "active account"),
    ],
)
def test_the_command_refuses(
    colours: ModelVersion,
    words: list[str],
    sentence: str,
) -> None:
    with pytest.raises(CommandError, match=sentence) as refusal:
        say("snapshot_corrections", *words)
    assert refusal.value.returncode == 2


def test_the_admin_shows_a_snapshot_and_lets_nobody_change_it(
    shown: list[Prediction], client: Client
) -> None:
    snapshot = snapshots.freeze("june", shown[0].version.model)
    classification.delete(shown[0])
    client.force_login(User.objects.create_superuser(f"root{uuid4().hex[:6]}"))
    address = reverse("admin:training_datasetsnapshot_change", args=[snapshot.pk])

    page = client.get(address).content.decode()

    assert (
        "june" in client.get(reverse("admin:training_datasetsnapshot_changelist")).content.decode()
    )
    assert 'cm-badge-quiet">deleted' in page
    assert client.post(address, {"name": "other"}).status_code == 403
